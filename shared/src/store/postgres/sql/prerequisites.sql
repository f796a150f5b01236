-- The tasks that $1 waits for, with the files whose newest content is theirs; files by their keys.
select o.id as on_task_id, o.key, o.state, f.path, f.size_bytes, f.sha256, f.task_id, f.at
  from (
    select o.*
      from dependencies d
      join tasks o on o.id = d.on_task_id
     where d.task_id = $1
     order by o.place
     limit $2
  ) o
  left join lateral (
    select f.*
      from json_array_elements_text(o.writes) as w (path)
      join files f on f.build_id = o.build_id and f.path = w.path
     where f.task_id = o.id
     order by f.path
     limit $3
  ) f on true
 order by o.place, f.path
