select t.id, t.name
  from tasks t
 where t.plan_id = (select plan_id from tasks where id = $1)
   and t.id <> $1
   and t.settled_at is null
 order by t.place
