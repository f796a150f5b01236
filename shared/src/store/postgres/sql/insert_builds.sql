insert into builds
  (id, tenant, brief, priority, project_id, on_task_failure, state, idempotency_key, request_hash,
   due_at, deadline_at, limit_key, rank, cache)
select id, tenant, brief::json, priority, project_id, on_task_failure, $7, idempotency_key,
       request_hash, clock_timestamp(), clock_timestamp() + make_interval(secs => deadline_secs),
       limit_key, rank, cache
  from unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::text[], $6::text[],
              $8::text[], $9::text[], $10::float8[], $11::text[], $12::float8[], $13::boolean[])
    as b (id, tenant, brief, priority, project_id, on_task_failure, idempotency_key, request_hash,
          deadline_secs, limit_key, rank, cache)
 -- So that two who write the same keys wait for each other in one order.
 order by tenant, idempotency_key, id
-- Waits for a submit with the same key that is under way, and then finds its build.
on conflict (tenant, idempotency_key) do nothing
returning id, created_at, updated_at
