-- Nobody else changes them: their build is locked.
select d.on_task_id, d.on_loss, t.id, t.build_id, t.name, t.state, t.waiting_on,
       t.cost::integer as cost, t.priority, t.place
  from dependencies d
  join tasks t on t.id = d.task_id
 where d.on_task_id = any($1)
 order by t.id
