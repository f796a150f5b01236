-- The builds are locked and the attempts were compared under that lock: the fence has been passed.
with done (id, number, logs) as (
  select * from unnest($1::text[], $2::integer[], $3::text[])
), ended as (
  update task_attempts a
     set state = $5, settled_at = clock_timestamp()
    from done
   where a.task_id = done.id and a.number = done.number and a.state = 'running'
)
update tasks t
   set state = $4,
       holder = null,
       leased_until = null,
       logs = done.logs::json,
       settled_at = clock_timestamp()
  from done
 where t.id = done.id
   and t.attempt = done.number -- the fence, once more
   and t.state = 'in_progress'
