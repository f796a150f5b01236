-- What waits for an earlier delivery waits for its time, as a retry does.
select count(*) filter (where is_first and due_at <= clock_timestamp()) as waiting,
       count(*) filter (where not is_first or clock_timestamp() < due_at) as delayed,
       (select count(*) from deliveries where state = 'in_progress') as running,
       greatest(0, coalesce(
         floor(extract(epoch from clock_timestamp() - min(due_at) filter (where is_first)) * 1000),
         0))::bigint as oldest_ms,
       (select count(*)
          from deliveries
         where settled_at > clock_timestamp() - interval '60 seconds') as settled_last_minute
  from (
    select d.due_at,
           d.parked_on is distinct from 'turn' as is_first
      from deliveries d
     where d.state = 'pending'
  ) pending
