-- Endpoints that have something to do, from $1 on, at most $2: found by going from one to the next in
-- the index of what is claimable.
with recursive active as (
  (select endpoint_id
     from deliveries
    where state = 'pending' and parked_on is null and $1 < endpoint_id
    -- In the order of that index, so that no other one is taken.
    order by endpoint_id, rank, id
    limit 1)
  union all
  select (select d.endpoint_id
            from deliveries d
           where d.state = 'pending' and d.parked_on is null and a.endpoint_id < d.endpoint_id
           order by d.endpoint_id, d.rank, d.id
           limit 1)
    from active a
   where a.endpoint_id is not null
)
select e.id, e.state, e.concurrency, e.rate, e.health,
       extract(epoch from e.held_until - clock_timestamp())::float8 as held_secs,
       p.tokens, extract(epoch from clock_timestamp() - p.at)::float8 as tokens_secs
  from (select endpoint_id from active where endpoint_id is not null limit $2) a
  join endpoints e on e.id = a.endpoint_id
  left join paces p on p.endpoint_id = e.id
 order by e.id
