-- Those among $1 whose turn it is may be claimed, at the ranks $2; a retry keeps its time.
update deliveries d
   set parked_on = case when clock_timestamp() < d.due_at then 'time' end,
       rank = u.rank
  from unnest($1::text[], $2::float8[]) as u (id, rank)
 where d.id = u.id
   and d.state = 'pending'
   and d.parked_on = 'turn'
   and (not d.ordered or not exists (
     select 1
       from deliveries earlier
      where earlier.endpoint_id = d.endpoint_id
        and earlier.build_id = d.build_id
        and earlier.seq < d.seq
        and earlier.settled_at is null
        and earlier.ordered
   ))
returning d.id
