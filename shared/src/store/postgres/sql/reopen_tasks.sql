with lost as (
  select t.id, count(o.id) as waiting_on
    from tasks t
    left join dependencies d on d.task_id = t.id
    left join tasks o on o.id = d.on_task_id and o.state <> 'completed'
   where t.plan_id = $1
     and t.state in ('failed', 'skipped', 'cancelled')
   group by t.id
)
update tasks t
   set state = case when lost.waiting_on = 0 then $3 else $2 end,
       waiting_on = lost.waiting_on,
       due_at = case when lost.waiting_on = 0 then clock_timestamp() end,
       failures = 0,
       crashes = 0,
       settled_at = null
  from lost
 where t.id = lost.id
returning t.id, t.state, t.place
