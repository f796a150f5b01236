with claimed as (
  update tasks
     set state = $2,
         attempt = attempt + 1,
         holder = $3,
         leased_until = clock_timestamp() + make_interval(secs => $4),
         due_at = null,
         started_at = coalesce(started_at, clock_timestamp())
   where id = any($1)
     -- Written so that rows are found by key, not by walking all that is claimable.
     and state is not distinct from 'ready'
     and parked_on is null
  returning *
), begun as (
  insert into task_attempts (task_id, number, holder, state)
  select id, attempt, $3, $5 from claimed
)
select id, build_id, plan_id, attempt, key, name, description, phase, operation, role,
       estimated_secs, writes, input, cost, tenant
  from claimed
 order by rank, id
