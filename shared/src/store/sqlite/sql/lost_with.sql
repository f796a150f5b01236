-- Who waits for $1, and for whatever is lost with it: those pending tasks that must not run without
-- it or without each other.
with recursive lost (id) as (
  select $1
  union
  select d.task_id
    from lost
    join dependencies d on d.on_task_id = lost.id
    join tasks t on t.id = d.task_id
   where d.on_loss in ('skip', 'fail_fast')
     and t.state = 'pending'
)
select t.id, t.name, t.state, t.waiting_on, d.on_task_id, d.on_loss
  from lost
  join dependencies d on d.on_task_id = lost.id
  join tasks t on t.id = d.task_id
 order by t.place
