-- All of $1 wait for one task fewer; those among $2 for none.
update tasks
   set waiting_on = waiting_on - 1,
       state = case when id = any($2) then $3 else state end,
       due_at = case when id = any($2) then clock_timestamp() else due_at end
 where id = any($1)
