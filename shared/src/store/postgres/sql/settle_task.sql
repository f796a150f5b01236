-- What is due at once waits for its turn, what is due later for its time.
with ended as (
  -- Sees the task as it is before the update.
  insert into task_attempts (task_id, number, holder, state, failure, started_at, settled_at)
  select id, attempt, holder, $9, $7::json, begun_at, clock_timestamp()
    from tasks
   where id = $1 and attempt = $2 and state = 'in_progress'
)
update tasks
   set state = $3,
       due_at = clock_timestamp() + make_interval(secs => $4), -- null where the task is final
       parked_on = case when $4 > 0 then 'time' end,
       holder = null,
       leased_until = null,
       begun_at = null,
       failures = failures + $5,
       crashes = crashes + $6,
       failure = coalesce($7::json, failure),
       settled_at = case when $8 then clock_timestamp() end
 where id = $1
   and attempt = $2 -- the fence: whoever lost the lease holds an older number
   and state = 'in_progress'
