update tasks
   set state = $2,
       attempt = attempt + 1,
       holder = $3,
       leased_until = clock_timestamp() + make_interval(secs => $4),
       due_at = null,
       begun_at = clock_timestamp(),
       started_at = coalesce(started_at, clock_timestamp())
 where id = any($1)
   -- Written so that rows are found by key, not by walking all that is claimable.
   and state is not distinct from 'ready'
   and parked_on is null
returning id, build_id, plan_id, attempt, key, name, description, phase, operation, role,
          estimated_secs, writes, input, cost, tenant, rank
