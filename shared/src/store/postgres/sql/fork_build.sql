-- $3 is like $1, but runs plan $4, a copy of $2.
insert into builds
  (id, tenant, brief, priority, project_id, on_task_failure, limit_key, state, plan_id, tasks,
   completed, files, started_at, forked_from, deadline_at)
select $3, b.tenant, b.brief, b.priority, b.project_id, b.on_task_failure, b.limit_key, $5, $4, $6,
       $7, $8, clock_timestamp(), $9,
       clock_timestamp() + make_interval(
         secs => coalesce((b.brief ->> 'deadline_secs')::float8, p.timeout_secs))
  from builds b
  join plans p on p.id = $2
 where b.id = $1
