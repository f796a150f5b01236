-- How long the newest successes of the fleet took, found by when tasks ended.
select t.operation, t.role,
       extract(epoch from a.settled_at - a.started_at)::float8 as took
  from (
    select id, attempt, operation, role, state
      from tasks
     where settled_at is not null
     order by settled_at desc
     limit $1
  ) t
  join task_attempts a on a.task_id = t.id and a.number = t.attempt
 where t.state = 'completed'
   and a.state = 'succeeded'
