update builds
   set state = $3,
       due_at = clock_timestamp() + make_interval(secs => $4), -- null where there is no retry
       parked_on = case when $4 > 0 then 'time' end,
       holder = null,
       leased_until = null,
       failures = failures + $5,
       crashes = crashes + $6,
       stop_code = $7,
       stop_message = $8,
       settled_at = case when $9 then clock_timestamp() end,
       updated_at = clock_timestamp()
 where id = $1
   and attempt = $2 -- the fence
   and state = 'planning'
