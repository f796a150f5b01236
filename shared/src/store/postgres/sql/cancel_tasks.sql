-- All open tasks of the build $1, and the attempts that run at them. Answers with what they were.
with open as (
  select id, state
    from tasks
   where plan_id in (select id from plans where build_id = $1) and settled_at is null
), ended as (
  -- Sees the tasks as they are before the update.
  insert into task_attempts (task_id, number, holder, state, started_at, settled_at)
  select t.id, t.attempt, t.holder, $3, t.begun_at, clock_timestamp()
    from open
    join tasks t on t.id = open.id
   where t.state is not distinct from 'in_progress'
)
update tasks t
   set state = $2,
       due_at = null,
       parked_on = null,
       holder = null,
       leased_until = null,
       begun_at = null,
       settled_at = clock_timestamp()
  from open
 where t.id = open.id
returning t.id, t.name, t.place, open.state = 'ready' as was_ready
