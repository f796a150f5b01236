update tasks
   set state = $3,
       due_at = clock_timestamp() + make_interval(secs => $4), -- null where the task is final
       holder = null,
       leased_until = null,
       failures = failures + $5,
       crashes = crashes + $6,
       failure = coalesce($7::json, failure),
       logs = coalesce($8::json, logs),
       settled_at = case when $9 then clock_timestamp() end
 where id = $1
   and attempt = $2 -- the fence: whoever lost the lease holds an older number
   and state = 'in_progress'
