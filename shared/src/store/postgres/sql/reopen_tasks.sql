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
   set state = $2,
       waiting_on = lost.waiting_on,
       failures = 0,
       crashes = 0,
       -- Who took it out said why; that is past.
       failure = case
         when failure ->> 'code' in ('cancelled_by_hand', 'skipped_by_hand') then null
         else failure
       end,
       settled_at = null
  from lost
 where t.id = lost.id
returning t.id, t.waiting_on, t.priority, t.place, t.cost::integer as cost
