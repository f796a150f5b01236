-- The builds are locked, and state and attempt were compared under that lock: the fence has been
-- passed. Rows are found by their keys alone, since an index of what is in progress is mostly dead
-- entries under load.
with done (id, number, logs) as (
  select * from unnest($1::text[], $2::integer[], $3::text[])
), ended as (
  update task_attempts a
     set state = $5, settled_at = clock_timestamp()
    from done
   where a.task_id = done.id and a.number = done.number
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
