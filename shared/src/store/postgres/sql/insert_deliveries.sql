insert into deliveries
  (id, tenant, build_id, endpoint_id, seq, kind, band, state, parked_on, rank, due_at)
select id, tenant, build_id, endpoint_id, seq, kind, band, $8, $9, 0, clock_timestamp()
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[],
              $7::smallint[])
    as d (id, tenant, build_id, endpoint_id, seq, kind, band)
