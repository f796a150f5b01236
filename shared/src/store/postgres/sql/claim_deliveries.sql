with claimed as (
  update deliveries
     set state = $2,
         attempt = attempt + 1,
         holder = $3,
         leased_until = clock_timestamp() + make_interval(secs => $4),
         due_at = null
   where id = any($1)
     -- Written so that rows are found by key, not by walking all that is claimable.
     and state is not distinct from 'pending'
     and parked_on is null
  returning id, attempt, endpoint_id, build_id, seq, rank
), begun as (
  insert into delivery_attempts (delivery_id, number, holder, state)
  select id, attempt, $3, $5 from claimed
  returning delivery_id, started_at
)
select d.id as delivery_id, d.attempt, d.endpoint_id, a.started_at, e.url, e.secret,
       v.id, v.build_id, v.seq, v.kind, v.at, v.data
  from claimed d
  join begun a on a.delivery_id = d.id
  join endpoints e on e.id = d.endpoint_id
  join events v on v.build_id = d.build_id and v.seq = d.seq
 order by d.rank, d.id
