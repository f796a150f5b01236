update tasks t
   set state = $2,
       attempt = t.attempt + 1,
       holder = $3,
       leased_until = clock_timestamp() + make_interval(secs => $4),
       due_at = null,
       started_at = coalesce(t.started_at, clock_timestamp())
  from plans p
 where t.id = $1
   and p.id = t.plan_id
   and t.state = 'ready'
   and t.due_at <= clock_timestamp()
returning t.id, t.build_id, t.attempt, t.key, t.name, t.description, t.phase, t.operation, t.role,
          t.estimated_secs, t.writes, t.input, p.spec
