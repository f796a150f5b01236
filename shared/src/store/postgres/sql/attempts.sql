-- Those that have ended, and the one that runs, which only its task knows of.
select number, holder, state, failure, started_at, settled_at
  from task_attempts
 where task_id = $1
 union all
select attempt, holder, $2, null, begun_at, null
  from tasks
 where id = $1 and state = 'in_progress'
 order by number
