select t.id, t.name, t.state,
       exists (
         select 1 from dependencies d where d.task_id = t.id and d.on_loss = 'always_run'
       ) as cleans_up
  from tasks t
 where t.build_id = (select build_id from tasks where id = $1)
   and t.plan_id = (select plan_id from tasks where id = $1)
   and t.id <> $1
   and t.settled_at is null
 order by t.place
