insert into plans
  (id, build_id, state, spec, project_type, framework, complexity, notes, estimated_secs,
   straightened, approve_until, timeout_secs)
select id, build_id, state, spec::json, project_type, framework, complexity, notes::json,
       estimated_secs, straightened::json,
       clock_timestamp() + make_interval(secs => approve_within), timeout_secs
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
              $8::text[], $9::integer[], $10::text[], $11::float8[], $12::integer[])
    as p (id, build_id, state, spec, project_type, framework, complexity, notes, estimated_secs,
          straightened, approve_within, timeout_secs)
