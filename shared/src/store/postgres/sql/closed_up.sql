-- The flow ($1 lane, $2 tenant, $3 priority) was walked to its end, which lies by $4 off from where its
-- next work would have followed on. Nothing is written if somebody else has closed it up meanwhile, or
-- has taken more out of it: $5 are its marks as they were when the walk began. It is looked at once
-- more $6 seconds later; what is on its way then was given its place behind the end.
update flows
   set last = last + case when gapped_at is null then greatest($4, 0) else $4 end,
       look_at = case
         when gapped_at is not null then clock_timestamp() + make_interval(secs => $6)
       end,
       gapped_at = null
 where lane = $1
   and tenant = $2
   and priority = $3
   and concat(gapped_at, ' ', look_at) = $5
