insert into outbox (job, priority, due_at)
select d.id, $2, d.due_at
  from deliveries d
 where d.id = $1
   and d.state = 'pending'
   and not exists (
     select 1
       from deliveries earlier
      where earlier.endpoint_id = d.endpoint_id
        and earlier.build_id = d.build_id
        and earlier.seq < d.seq
        and earlier.settled_at is null
   )
   -- A retry may wait there for its time.
   and not exists (select 1 from outbox where job = d.id)
