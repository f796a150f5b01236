insert into builds
  (id, tenant, brief, priority, project_id, on_task_failure, state, idempotency_key, request_hash,
   due_at, deadline_at, limit_key, rank, cache)
values
  ($1, $2, $3::json, $4, $5, $6, $7, $8, $9,
   clock_timestamp(), clock_timestamp() + make_interval(secs => $10), $11, $12, $13)
-- Waits for a submit with the same key that is under way, and then finds its build.
on conflict (tenant, idempotency_key) do nothing
