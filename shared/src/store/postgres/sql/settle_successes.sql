-- The builds are locked, and state and attempt were compared under that lock: the fence has been
-- passed. Rows are found by their keys alone, since an index of what is in progress is mostly dead
-- entries under load.
with done (id, number, logs) as (
  select * from unnest($1::text[], $2::integer[], $3::text[])
), ended as (
  -- Sees the tasks as they are before the update.
  insert into task_attempts (task_id, number, holder, state, started_at, settled_at)
  select t.id, t.attempt, t.holder, $5, t.begun_at, clock_timestamp()
    from done
    join tasks t on t.id = done.id
   where t.attempt = done.number
)
update tasks t
   set state = $4,
       holder = null,
       leased_until = null,
       begun_at = null,
       logs = done.logs::json,
       settled_at = clock_timestamp()
  from done
 where t.id = done.id
   and t.attempt = done.number -- the fence, once more
