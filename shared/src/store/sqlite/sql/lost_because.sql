-- Every dependency of $1, and of whoever waits for it, directly or through tasks that are lost.
with recursive lost (id) as (
  select $1
  union
  select d.task_id
    from lost
    join dependencies d on d.on_task_id = lost.id
    join tasks t on t.id = d.task_id
   where t.state in ('skipped', 'cancelled')
), waiting (id) as (
  select id from lost
  union
  select d.task_id from lost join dependencies d on d.on_task_id = lost.id
)
select d.task_id, d.on_task_id, d.on_loss
  from waiting
  join dependencies d on d.task_id = waiting.id
