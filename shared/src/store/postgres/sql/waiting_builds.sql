-- As `waiting_tasks.sql`, of builds that wait to be planned.
select f.last, concat(f.gapped_at, ' ', f.look_at) as marks, l.virtual_time, coalesce(w.weight, 1)::float8 as weight,
       b.id, b.rank, b.cost
  from flows f
  join lanes l on l.lane = f.lane
  left join weights w on w.tenant = f.tenant
  left join lateral (
    select b.id, b.rank, 1 as cost
      from builds b
     where b.tenant = f.tenant
       and b.priority = f.priority
       and b.settled_at is null
       and b.state is not distinct from 'queued'
       -- Those have no rank yet.
       and b.parked_on is distinct from 'turn'
       and ($3, $4) < (b.rank, b.id)
     order by b.rank, b.id
     limit $5
  ) b on true
 where f.lane = 'plans' and f.tenant = $1 and f.priority = $2
 order by b.rank, b.id
