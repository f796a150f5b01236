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
  returning id, attempt, endpoint_id, tenant, build_id, seq, rank, begun_at
), moved as (
  update lanes set virtual_time = $5 where lane = 'deliveries' and virtual_time < $5
), numbered as (
  select *, row_number() over (partition by endpoint_id order by rank, id) as nth from claimed
)
select d.id as delivery_id, d.attempt, d.endpoint_id, d.tenant, d.begun_at,
       v.id, v.build_id, v.seq, v.kind, v.at, v.data,
       t.url, t.secret, t.headers, t.old_secrets
  from numbered d
  join events v on v.build_id = d.build_id and v.seq = d.seq
  -- What a request needs to know of its endpoint is told once for each.
  left join lateral (
    select e.url, e.secret, e.headers,
           array(
             select o.secret
               from old_secrets o
              where o.endpoint_id = e.id and clock_timestamp() < o.live_until
              order by o.live_until desc
           ) as old_secrets
      from endpoints e
     where e.id = d.endpoint_id and d.nth = 1
  ) t on true
 order by d.rank, d.id
