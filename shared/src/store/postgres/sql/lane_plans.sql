select count(*) filter (where due_at <= clock_timestamp()) as waiting,
       count(*) filter (where clock_timestamp() < due_at) as delayed,
       (select count(*) from builds where state = 'planning') as running,
       greatest(0, coalesce(
         floor(extract(epoch from clock_timestamp() - min(due_at)) * 1000),
         0))::bigint as oldest_ms,
       (select count(*)
          from planning_attempts
         where settled_at > clock_timestamp() - interval '60 seconds'
           and state in ('succeeded', 'failed')) as settled_last_minute
  from builds
 where state = 'queued'
