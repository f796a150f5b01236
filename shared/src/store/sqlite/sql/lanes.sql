-- Depth, running and age of the oldest waiting work of each lane. Each part reads a partial index.
with
  clock as (select cast(unixepoch('subsec') * 1000 as integer) as now),
  open (lane, due_at, could_run) as (
    select 'plans', due_at, due_at <= now from builds, clock where state = 'queued'
    union all
    select 'tasks', due_at, due_at <= now from tasks, clock where state = 'ready'
    union all
    select 'deliveries', due_at,
           due_at <= now
           and not exists (select 1 from deliveries earlier
                            where earlier.endpoint_id = deliveries.endpoint_id
                              and earlier.build_id = deliveries.build_id
                              and earlier.seq < deliveries.seq
                              and earlier.settled_at is null)
      from deliveries, clock where state = 'pending'
  ),
  depth as (
    select lane, count(*) as waiting_or_delayed, sum(could_run) as waiting,
           min(iif(could_run, due_at, null)) as oldest_due_at
      from open group by lane
  ),
  lanes (place, lane, running, settled_last_minute) as (
    select 1, 'plans',
           (select count(*) from builds where state = 'planning'),
           (select count(*) from planning_attempts, clock
             where state in ('succeeded', 'failed') and now - 60000 < settled_at)
    union all
    select 2, 'tasks',
           (select count(*) from tasks where state = 'in_progress'),
           (select count(*) from tasks, clock
             where settled_at is not null and now - 60000 < settled_at)
    union all
    select 3, 'deliveries',
           (select count(*) from deliveries where state = 'in_progress'),
           (select count(*) from deliveries, clock
             where settled_at is not null and now - 60000 < settled_at)
  )
select lanes.lane, lanes.running, lanes.settled_last_minute,
       coalesce(depth.waiting_or_delayed, 0) as waiting_or_delayed,
       coalesce(depth.waiting, 0) as waiting,
       coalesce(now - depth.oldest_due_at, 0) as oldest_ms
  from lanes
  join clock
  left join depth on depth.lane = lanes.lane
 order by lanes.place
