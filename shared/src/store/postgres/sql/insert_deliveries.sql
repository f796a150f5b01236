insert into deliveries (tenant, build_id, endpoint_id, state, id, seq, kind, due_at)
select $1, $2, $3, $4, id, seq, kind, clock_timestamp()
  from unnest($5::text[], $6::bigint[], $7::text[]) as d (id, seq, kind)
