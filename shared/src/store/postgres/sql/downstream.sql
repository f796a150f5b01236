-- The pending tasks that wait for $1, directly or through others. Whoever waits through a task that
-- is not pending was skipped with it.
with recursive waiting (id) as (
  select d.task_id
    from dependencies d
    join tasks t on t.id = d.task_id
   where d.on_task_id = $1 and t.state = 'pending'
  union
  select d.task_id
    from waiting w
    join dependencies d on d.on_task_id = w.id
    join tasks t on t.id = d.task_id
   where t.state = 'pending'
)
select t.id, t.name
  from tasks t
  join waiting w on w.id = t.id
 order by t.place
