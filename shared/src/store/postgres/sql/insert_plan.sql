insert into plans
  (id, build_id, state, spec, project_type, framework, complexity, notes, estimated_secs,
   straightened, approve_until, timeout_secs)
values
  ($1, $2, $3, $4::json, $5, $6, $7, $8::json, $9,
   $10::json, clock_timestamp() + make_interval(secs => $11), $12)
