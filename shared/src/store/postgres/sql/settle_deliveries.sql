-- Settles attempts at deliveries, with a row for each in the log of attempts. Answers with those that
-- were held as it is said; the others belong to somebody else by now.
with done (id, attempt, lapsed, state, due_secs, failures, crashes, failure, is_final, ended, status,
           took_ms, excerpt, exchange, holder) as (
  select * from unnest($1::text[], $2::integer[], $3::boolean[], $4::text[], $5::float8[],
                       $6::integer[], $7::integer[], $8::text[], $9::boolean[], $10::text[],
                       $11::smallint[], $12::bigint[], $13::text[], $14::text[], $15::text[])
), settled as (
  update deliveries d
     set state = done.state,
         -- Null where the delivery is final.
         due_at = clock_timestamp() + make_interval(secs => done.due_secs),
         parked_on = case
           when done.due_secs is null then null
           when d.ordered and exists (
             -- An earlier one was asked for again meanwhile.
             select 1
               from deliveries earlier
              where earlier.endpoint_id = d.endpoint_id
                and earlier.build_id = d.build_id
                and earlier.seq < d.seq
                and earlier.settled_at is null
                and earlier.ordered
           ) then 'turn'
           when done.due_secs > 0 then 'time'
         end,
         holder = null,
         leased_until = null,
         failures = d.failures + done.failures,
         crashes = d.crashes + done.crashes,
         failure = coalesce(done.failure::json, d.failure),
         settled_at = case when done.is_final then clock_timestamp() end
    from done
   where d.id = done.id
     and d.attempt = done.attempt -- the fence
     and d.state is not distinct from 'in_progress'
     and (not done.lapsed or d.leased_until <= clock_timestamp())
  -- With all that the log is told: a join would compare each with each.
  returning d.begun_at, done.*
)
insert into delivery_attempts
  (delivery_id, number, holder, state, status, failure, took_ms, excerpt, exchange, started_at,
   settled_at)
select id, attempt, holder, ended, status, failure::json, took_ms, excerpt, exchange::json, begun_at,
       clock_timestamp()
  from settled
returning delivery_id
