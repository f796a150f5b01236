-- The first open delivery of each endpoint $1 and build $2.
select d.id, d.endpoint_id, d.tenant, d.band
  from unnest($1::text[], $2::text[]) as u (endpoint_id, build_id)
 cross join lateral (
   select id, endpoint_id, tenant, band
     from deliveries
    where endpoint_id = u.endpoint_id
      and build_id = u.build_id
      and settled_at is null
      and ordered
    order by seq
    limit 1
 ) d
