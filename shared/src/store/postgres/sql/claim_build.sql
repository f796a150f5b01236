update builds
   set state = $2,
       attempt = attempt + 1,
       holder = $3,
       leased_until = clock_timestamp() + make_interval(secs => $4),
       due_at = null,
       started_at = coalesce(started_at, clock_timestamp()),
       updated_at = clock_timestamp()
 where id = $1
   and state = 'queued'
   and due_at <= clock_timestamp()
returning attempt, brief
