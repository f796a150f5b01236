insert into tasks
  (id, build_id, plan_id, place, key, name, description, phase, operation, role, priority,
   estimated_secs, writes, input, tenant, band, limit_key, cost, state, waiting_on, rank, due_at,
   logs, started_at, settled_at)
select u.id, $6, $7, t.place, t.key, t.name, t.description, t.phase, t.operation, t.role, t.priority,
       t.estimated_secs, t.writes,
       case when u.id = $8 then coalesce($9::json, t.input) else t.input end,
       t.tenant, t.band, t.limit_key, t.cost, u.state, u.waiting_on, u.rank,
       case when u.state = 'ready' then clock_timestamp() end,
       case when u.state = 'completed' then t.logs else '[]' end,
       case when u.state = 'completed' then t.started_at end,
       case when u.state = 'completed' then t.settled_at end
  from unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::float8[])
    as u (origin, id, state, waiting_on, rank)
  join tasks t on t.id = u.origin
