-- Work that waits for longer than $1 seconds with nothing on its way, oldest first.
select id
  from (
    (select b.id, b.due_at
       from builds b
      where b.state = 'queued'
        and b.due_at < clock_timestamp() - make_interval(secs => $1)
        and not exists (select 1 from outbox o where o.job = b.id)
      order by b.due_at
      limit $2)
    union all
    (select t.id, t.due_at
       from tasks t
      where t.state = 'ready'
        and t.due_at < clock_timestamp() - make_interval(secs => $1)
        and not exists (select 1 from outbox o where o.job = t.id)
      order by t.due_at
      limit $2)
    union all
    (select d.id, d.due_at
       from deliveries d
      where d.state = 'pending'
        and d.due_at < clock_timestamp() - make_interval(secs => $1)
        and not exists (select 1 from outbox o where o.job = d.id)
        and not exists (
          select 1
            from deliveries earlier
           where earlier.endpoint_id = d.endpoint_id
             and earlier.build_id = d.build_id
             and earlier.seq < d.seq
             and earlier.settled_at is null
        )
      order by d.due_at
      limit $2)
  ) waiting
 order by due_at
 limit $2
