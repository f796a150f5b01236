-- Sends those among $1 again that are final; they wait for their turn.
update deliveries
   set state = $2, parked_on = 'turn', due_at = clock_timestamp(), settled_at = null,
       failures = 0, crashes = 0, rank = coalesce(rank, 0)
 where id = any($1)
   and settled_at is not null
returning id, endpoint_id, tenant, band
