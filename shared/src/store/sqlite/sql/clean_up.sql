-- What the tasks of $1's plan that clean up wait for.
select t.id, t.name, t.state, t.waiting_on, d.on_task_id, d.on_loss
  from tasks t
  join dependencies d on d.task_id = t.id
 where t.build_id = (select build_id from tasks where id = $1)
   and t.plan_id = (select plan_id from tasks where id = $1)
   and t.settled_at is null
   and exists (select 1 from dependencies a where a.task_id = t.id and a.on_loss = 'always_run')
 order by t.place
