insert into tasks
  (build_id, plan_id, tenant, band, limit_key, place, id, key, name, description, phase, operation,
   role, priority, estimated_secs, writes, input, state, waiting_on, cost, rank, due_at, settled_at)
select build_id, plan_id, tenant, band, limit_key, place, id, key, name, description, phase,
       operation, role, priority, estimated_secs, writes::json, input::json, state, waiting_on, cost,
       rank,
       case when state = 'ready' then clock_timestamp() end,
       -- Added too late: what it needs is lost.
       case when state = 'skipped' then clock_timestamp() end
  from unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::text[], $6::integer[],
              $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],
              $14::smallint[], $15::integer[], $16::text[], $17::text[], $18::text[],
              $19::integer[], $20::smallint[], $21::float8[])
    as t (build_id, plan_id, tenant, band, limit_key, place, id, key, name, description, phase,
          operation, role, priority, estimated_secs, writes, input, state, waiting_on, cost, rank)
