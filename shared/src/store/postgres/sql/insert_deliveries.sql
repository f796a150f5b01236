-- Those with a rank are the first of their build for an ordered endpoint, or of an unordered one; it is
-- their turn unless an earlier one is open. The others wait for it.
insert into deliveries
  (id, tenant, build_id, endpoint_id, seq, kind, band, ordered, rank, state, parked_on, due_at)
select d.id, d.tenant, d.build_id, d.endpoint_id, d.seq, d.kind, d.band, d.ordered,
       coalesce(d.rank, 0), $10,
       case
         when d.rank is null then 'turn'
         when d.ordered and exists (
           select 1
             from deliveries earlier
            where earlier.endpoint_id = d.endpoint_id
              and earlier.build_id = d.build_id
              and earlier.seq < d.seq
              and earlier.settled_at is null
              and earlier.ordered
         ) then 'turn'
       end,
       clock_timestamp()
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[],
              $7::smallint[], $8::boolean[], $9::float8[])
    as d (id, tenant, build_id, endpoint_id, seq, kind, band, ordered, rank)
returning id, parked_on is null as enters
