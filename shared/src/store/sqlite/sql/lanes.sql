-- Depth, running and age of the oldest waiting work of each lane. Each part reads a partial index.
-- What is parked at a limit or a pause waits; it could run now but for them.
with
  clock as (select cast(unixepoch('subsec') * 1000 as integer) as now),
  open (lane, due_at, could_run) as (
    select 'plans', due_at, 1 from builds where state = 'queued' and parked_on is null
    union all
    select 'plans', due_at, 1 from builds where parked_on <> 'time'
    union all
    select 'plans', due_at, due_at <= now from builds, clock where parked_on = 'time'
    union all
    select 'tasks', due_at, 1 from tasks where state = 'ready' and parked_on is null
    union all
    select 'tasks', due_at, 1 from tasks where parked_on <> 'time'
    union all
    select 'tasks', due_at, due_at <= now from tasks, clock where parked_on = 'time'
    union all
    select 'deliveries', due_at, due_at <= now and coalesce(parked_on, '') <> 'turn'
      from deliveries, clock where settled_at is null and state = 'pending'
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
