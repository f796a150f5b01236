update tasks t
   set state = $3,
       waiting_on = u.waiting_on,
       failures = 0,
       crashes = 0,
       -- Who took it out said why; that is past.
       failure = case
         when failure ->> 'code' in ('cancelled_by_hand', 'skipped_by_hand') then null
         else failure
       end,
       settled_at = null
  from unnest($1::text[], $2::integer[]) as u (id, waiting_on)
 where t.id = u.id
