-- The flow of tasks ($1 tenant, $2 priority), and what waits in it behind the rank $3 and id $4, at
-- most $5; all as of one instant, and at least one row if there is such a flow.
select f.last, concat(f.gapped_at, ' ', f.look_at) as marks, l.virtual_time, coalesce(w.weight, 1)::float8 as weight,
       t.id, t.rank, t.cost
  from flows f
  join lanes l on l.lane = f.lane
  left join weights w on w.tenant = f.tenant
  left join lateral (
    select t.id, t.rank, t.cost::integer as cost
      from builds b
      join tasks t on t.plan_id = b.plan_id
     where b.tenant = f.tenant
       and b.priority = f.priority
       and b.settled_at is null
       -- Not by the indices of claims, which hold the tasks of all tenants.
       and t.state is not distinct from 'ready'
       and ($3, $4) < (t.rank, t.id)
     order by t.rank, t.id
     limit $5
  ) t on true
 where f.lane = 'tasks' and f.tenant = $1 and f.priority = $2
 order by t.rank, t.id
