-- Flows that are to be closed up, or to be looked at once more; at most $1.
select lane, tenant, priority
  from flows
 where (gapped_at is not null or look_at is not null)
   and (gapped_at is not null or look_at <= clock_timestamp())
 order by lane, tenant, priority
 limit $1
