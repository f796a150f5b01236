update builds
   set state = $2,
       stop_code = $3,
       stop_message = $4,
       cancelled = $5,
       due_at = null,
       parked_on = null,
       holder = null,
       leased_until = null,
       settled_at = clock_timestamp(),
       updated_at = clock_timestamp()
 where id = $1
