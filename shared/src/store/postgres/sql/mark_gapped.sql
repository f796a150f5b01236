-- Of the flows ($1 lane, $2 tenant, $3 priority), those that are ahead of their lane are to be closed
-- up. Locked in one order, so that nobody waits in a circle. Answers with by how many rounds they are.
with gapped as (
  select f.lane, f.tenant, f.priority, f.last - l.virtual_time as ahead
    from unnest($1::text[], $2::text[], $3::smallint[]) as u (lane, tenant, priority)
    join flows f on f.lane = u.lane and f.tenant = u.tenant and f.priority = u.priority
    join lanes l on l.lane = f.lane
   where l.virtual_time < f.last
   order by f.lane, f.tenant, f.priority
     for no key update of f
)
update flows f
   set gapped_at = clock_timestamp()
  from gapped g
 where f.lane = g.lane and f.tenant = g.tenant and f.priority = g.priority
returning f.lane, f.tenant, f.priority, g.ahead
