-- $3: planned anew. The counts of what it had then go with the plan it no longer has.
update builds
   set state = $2,
       due_at = case when $3 then clock_timestamp() end,
       rank = coalesce($5, rank),
       plan_id = case when $3 then null else plan_id end,
       tasks = case when $3 then 0 else tasks end,
       completed = case when $3 then 0 else completed end,
       failed = 0,
       skipped = 0,
       cancelled = 0,
       failures = 0,
       crashes = 0,
       stop_code = null,
       stop_message = null,
       settled_at = null,
       deadline_at = clock_timestamp() + make_interval(secs => coalesce($4,
         case when not $3 then (select timeout_secs from plans where id = plan_id) end)),
       updated_at = clock_timestamp()
 where id = $1
