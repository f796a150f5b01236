select t.id, t.name, t.state, t.waiting_on, d.on_task_id, d.on_loss
  from dependencies d
  join tasks t on t.id = d.task_id
 where d.on_task_id = $1
 order by t.place
