update deliveries d
   set state = $3,
       due_at = clock_timestamp() + make_interval(secs => $4), -- null where the delivery is final
       parked_on = case
         when $4 is null then null
         when exists (
           -- An earlier one was asked for again meanwhile.
           select 1
             from deliveries earlier
            where earlier.endpoint_id = d.endpoint_id
              and earlier.build_id = d.build_id
              and earlier.seq < d.seq
              and earlier.settled_at is null
         ) then 'turn'
         when $4 > 0 then 'time'
       end,
       holder = null,
       leased_until = null,
       failures = failures + $5,
       crashes = crashes + $6,
       failure = coalesce($7::json, failure),
       settled_at = case when $8 then clock_timestamp() end
 where id = $1
   and attempt = $2 -- the fence
   and state = 'in_progress'
