update builds
   set state = $2,
       stop_code = $3,
       stop_message = $4,
       settled_at = case when $5 then clock_timestamp() end,
       completed = $6,
       failed = $7,
       skipped = $8,
       cancelled = $9,
       files = $10,
       updated_at = clock_timestamp()
 where id = $1
