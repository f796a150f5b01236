with claimed as (
  update deliveries
     set state = $2,
         attempt = attempt + 1,
         holder = $3,
         leased_until = clock_timestamp() + make_interval(secs => $4),
         begun_at = clock_timestamp(),
         due_at = null
   where id = any($1)
     -- Written so that rows are found by key, not by walking all that is claimable.
     and state is not distinct from 'pending'
     and parked_on is null
  returning id, attempt, endpoint_id, build_id, seq, rank, begun_at
), moved as (
  update lanes set virtual_time = $5 where lane = 'deliveries' and virtual_time < $5
)
select d.id as delivery_id, d.attempt, d.endpoint_id, d.begun_at,
       v.id, v.build_id, v.seq, v.kind, v.at, v.data
  from claimed d
  join events v on v.build_id = d.build_id and v.seq = d.seq
 order by d.rank, d.id
