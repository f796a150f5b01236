-- Moves flows on by the work that enters them: last = max(last, virtual time) + units / weight. What
-- comes after a line break in the name of a flow is an endpoint; its weight is that of its tenant.
insert into flows as f (lane, tenant, priority, last)
select $1, u.tenant, u.priority, l.virtual_time + u.units / coalesce(w.weight, 1)
  from unnest($2::text[], $3::smallint[], $4::float8[]) as u (tenant, priority, units)
 cross join (select virtual_time from lanes where lane = $1) l
  left join weights w on w.tenant = split_part(u.tenant, e'\n', 1)
 order by u.tenant, u.priority
on conflict (lane, tenant, priority) do update
   set last = excluded.last
            + greatest(f.last - (select virtual_time from lanes where lane = $1), 0)
returning tenant, priority, last,
          coalesce((select weight from weights w where w.tenant = split_part(f.tenant, e'\n', 1)), 1
          )::float8 as weight
