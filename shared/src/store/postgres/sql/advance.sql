-- Tasks wait for so many fewer; those that are given a rank wait for none.
update tasks t
   set waiting_on = waiting_on - u.by,
       state = case when u.rank is null then t.state else $4 end,
       rank = coalesce(u.rank, t.rank),
       due_at = case when u.rank is null then t.due_at else clock_timestamp() end
  from unnest($1::text[], $2::integer[], $3::float8[]) as u (id, by, rank)
 where t.id = u.id
