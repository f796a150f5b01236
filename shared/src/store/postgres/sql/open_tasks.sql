select t.id, t.operation, t.role, t.estimated_secs,
       coalesce(extract(epoch from clock_timestamp() - t.begun_at), 0)::float8 as running,
       array(select on_task_id from dependencies where task_id = t.id) as waits_for
  from tasks t
 where t.plan_id = $1
   and t.settled_at is null
 order by t.place
