select b.*, p.estimated_secs, e.id as endpoint, e.url, e.secret,
       t.open_pending, t.open_ready, t.open_in_progress, t.open_phase
  from builds b
  left join plans p on p.id = b.plan_id
  left join lateral (
    select id, url, secret from endpoints where build_id = b.id order by created_at, id limit 1
  ) e on true
  left join lateral (
    select count(*) filter (where state = 'pending')::integer as open_pending,
           count(*) filter (where state = 'ready')::integer as open_ready,
           count(*) filter (where state = 'in_progress')::integer as open_in_progress,
           min(array_position($1::text[], phase)) as open_phase
      from tasks
     where plan_id = b.plan_id and settled_at is null
  ) t on true
