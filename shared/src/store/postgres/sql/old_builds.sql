-- The longest final first, until they have $3 tasks; one at least. Whoever has one of them locked, say
-- to retry it, keeps it for this time.
with old as (
  select id, sum(tasks) over (order by settled_at, id) - tasks as before
    from (
      select id, tasks, settled_at
        from builds
       where settled_at < clock_timestamp() - make_interval(secs => $1)
       order by settled_at, id
       limit $2
    ) longest
)
select b.id
  from builds b
 where b.id in (select id from old where before < $3)
   and b.settled_at < clock_timestamp() - make_interval(secs => $1)
   for update skip locked
