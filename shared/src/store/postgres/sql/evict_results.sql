-- Those past their time, and the oldest beyond the $2 that may stay; rows in use are left for later.
with past as (
  select key
    from results
   where kept_at <= clock_timestamp() - make_interval(secs => $1)
   order by kept_at
   limit $3
     for update skip locked
), beyond as (
  select key
    from results
   order by kept_at
   limit greatest(0, least($3, (select count(*) from results) - $2))
     for update skip locked
)
delete from results
 where key in (select key from past union select key from beyond limit $3)
