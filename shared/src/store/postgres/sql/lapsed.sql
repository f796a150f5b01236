-- Each kind by its own index; the longest lapsed of all come first.
select id, attempt
  from (
    (select id, attempt, leased_until
       from builds
      where state = 'planning' and leased_until <= clock_timestamp()
      order by leased_until
      limit $1)
    union all
    (select id, attempt, leased_until
       from tasks
      where state = 'in_progress' and leased_until <= clock_timestamp()
      order by leased_until
      limit $1)
    union all
    (select id, attempt, leased_until
       from deliveries
      where state = 'in_progress' and leased_until <= clock_timestamp()
      order by leased_until
      limit $1)
  ) lapsed
 order by leased_until
 limit $1
