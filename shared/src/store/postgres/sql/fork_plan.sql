insert into plans
  (id, build_id, state, spec, project_type, framework, complexity, notes, estimated_secs,
   straightened, timeout_secs)
select $2, $3, state, spec, project_type, framework, complexity, notes, estimated_secs,
       straightened, timeout_secs
  from plans
 where id = $1
