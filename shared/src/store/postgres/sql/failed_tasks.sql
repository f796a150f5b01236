-- Tasks that were given up.
select w.id, w.build_id as build_id, w.tenant, left(w.name, $8) as name, w.failure ->> 'code' as code, w.failure ->> 'reason' as reason,
       w.attempt, w.failures, w.crashes, w.settled_at,
       (extract(epoch from w.settled_at) * 1000000)::bigint as place,
       (select failure from task_attempts a
         where a.task_id = w.id and a.failure is not null order by number limit 1) as first,
       (select failure from task_attempts a
         where a.task_id = w.id and a.failure is not null order by number desc limit 1) as last
  from tasks w
 where w.state = 'failed'
   and ($1::text is null or w.tenant = $1)
   and ($2::text is null or w.failure ->> 'code' = $2)
   and ($3::bigint is null or to_timestamp($3 / 1000.0) <= w.settled_at)
   and ($4::bigint is null or w.settled_at < to_timestamp($4 / 1000.0))
   and ($5::bigint is null
        or (w.settled_at, w.id)
           < ('epoch'::timestamptz + $5 * interval '1 microsecond', $6::text))
 order by w.settled_at desc, w.id desc
 limit $7
