-- The other endpoints of the tenants of endpoints $1.
select a.id as about, l.id, l.tenant, l.events
  from endpoints a
  left join builds b on b.id = a.build_id
  join endpoints l on l.tenant = coalesce(a.tenant, b.tenant)
 where a.id = any($1)
   and l.build_id is null
   and l.id <> a.id
   and l.state = 'enabled'
 order by a.id, l.id
