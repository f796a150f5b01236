update builds b
   set state = u.state,
       stop_code = u.stop_code,
       stop_message = u.stop_message,
       settled_at = case when u.is_final then coalesce(b.settled_at, clock_timestamp()) end,
       completed = u.completed,
       failed = u.failed,
       skipped = u.skipped,
       cancelled = u.cancelled,
       files = u.files,
       last_seq = u.last_seq,
       updated_at = clock_timestamp()
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::integer[],
              $7::integer[], $8::integer[], $9::integer[], $10::integer[], $11::bigint[])
    as u (id, state, stop_code, stop_message, is_final, completed, failed, skipped, cancelled,
          files, last_seq)
 where b.id = u.id
