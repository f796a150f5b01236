insert into tasks
  (build_id, plan_id, tenant, band, limit_key, id, place, key, name, description, phase, operation,
   role, priority, estimated_secs, writes, input, state, waiting_on, cost, rank, due_at, settled_at)
select $1, $2, $18, $19, $20, id, $21 + n - 1, key, name, description, phase, operation,
       role, priority, estimated_secs, writes::json, input::json, state, waiting_on, cost, rank,
       case when state = 'ready' then clock_timestamp() end,
       -- Added too late: what it needs is lost.
       case when state = 'skipped' then clock_timestamp() end
  from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
              $10::smallint[], $11::integer[], $12::text[], $13::text[], $14::text[],
              $15::integer[], $16::smallint[], $17::float8[])
       with ordinality
    as t (id, key, name, description, phase, operation, role,
          priority, estimated_secs, writes, input, state, waiting_on, cost, rank, n)
