-- Of each endpoint in $1 what is next, at most as much as $2 says.
select d.id, d.build_id as build, d.tenant, d.kind, d.endpoint_id as key, 1 as cost, d.rank, d.band
  from unnest($1::text[], $2::bigint[]) as e (id, room)
 cross join lateral (
   select id, build_id, tenant, kind, endpoint_id, rank, band
     from deliveries
    where endpoint_id = e.id and state = 'pending' and parked_on is null
    order by rank, id
    limit e.room
 ) d
 order by d.rank, d.id
