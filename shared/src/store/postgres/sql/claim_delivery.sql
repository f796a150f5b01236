update deliveries d
   set state = $2,
       attempt = d.attempt + 1,
       holder = $3,
       leased_until = clock_timestamp() + make_interval(secs => $4),
       due_at = null
  from endpoints e, events v
 where d.id = $1
   and e.id = d.endpoint_id
   and v.build_id = d.build_id
   and v.seq = d.seq
   and d.state = 'pending'
   and d.due_at <= clock_timestamp()
   -- Its turn: a receiver hears of a build in the order of its log.
   and not exists (
     select 1
       from deliveries earlier
      where earlier.endpoint_id = d.endpoint_id
        and earlier.build_id = d.build_id
        and earlier.seq < d.seq
        and earlier.settled_at is null
   )
returning d.attempt, d.endpoint_id, e.url, e.secret, v.id, v.build_id, v.seq, v.kind, v.at, v.data
