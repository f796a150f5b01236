-- What cannot be if every verb was all or nothing. One row a contradiction: what it is, and where.
select 'the log has a gap' as what, b.id as id
  from builds b
 where b.last_seq <> (select count(*) from events e where e.build_id = b.id)
    or b.last_seq <> (select coalesce(max(seq), 0) from events e where e.build_id = b.id)
union all
select 'the counts are not those of the tasks', b.id
  from builds b
 where (b.tasks, b.completed, b.failed, b.skipped, b.cancelled) <>
       (select count(*), count(*) filter (where t.state = 'completed'),
               count(*) filter (where t.state = 'failed'),
               count(*) filter (where t.state = 'skipped'),
               count(*) filter (where t.state = 'cancelled')
          from tasks t where t.plan_id = b.plan_id)
union all
select 'the count of files is not that of the files', b.id
  from builds b
 where b.files <> (select count(*) from files f where f.build_id = b.id)
union all
select 'a build goes on without a task that could', b.id
  from builds b
 where b.state = 'executing'
   and not exists (select 1 from tasks t
                    where t.plan_id = b.plan_id and t.state in ('ready', 'in_progress'))
union all
select 'a build completed before its tasks', b.id
  from builds b
 where b.state = 'completed' and b.completed <> b.tasks
union all
select 'a task is not completed by exactly one attempt', t.id
  from tasks t
 where (t.state = 'completed') <> (select count(*) from task_attempts a
                                    where a.task_id = t.id and a.state = 'succeeded')
union all
select 'the attempts at a task that have ended are not all it has had', t.id
  from tasks t
 where t.attempt - iif(t.state = 'in_progress', 1, 0) <>
       (select coalesce(max(a.number), 0) from task_attempts a where a.task_id = t.id)
union all
select 'a task waits for another number than its dependencies have', t.id
  from tasks t
 where t.state in ('pending', 'ready', 'in_progress', 'completed')
   and t.waiting_on <> (select count(*)
                          from dependencies d join tasks o on o.id = d.on_task_id
                         where d.task_id = t.id and o.state <> 'completed')
union all
select 'a task that waits for nothing is not ready', t.id
  from tasks t join builds b on b.id = t.build_id
 where b.state = 'executing' and t.state = 'pending' and t.waiting_on = 0
union all
select 'a completed task was not told of once', t.id
  from tasks t
 where (t.state = 'completed') <> (select count(*) from events e
                                    where e.build_id = t.build_id
                                      and e.kind = 'task_completed'
                                      and e.data ->> 'taskId' = t.id)
union all
select 'an event is not told to the endpoint that wants it', n.id
  from endpoints n join builds b on b.id = n.build_id
 where n.events = '[]' and n.state = 'enabled'
   and b.last_seq <> (select count(*) from deliveries d where d.endpoint_id = n.id)
union all
select 'a delivery was begun before its turn', d.id
  from deliveries d
 where d.attempt > 0
   and d.ordered
   and exists (select 1 from deliveries earlier
                where earlier.endpoint_id = d.endpoint_id
                  and earlier.build_id = d.build_id
                  and earlier.seq < d.seq
                  and earlier.attempt = 0)
union all
select 'a delivery has its turn before another one', d.id
  from deliveries d
 where d.state = 'pending'
   and coalesce(d.parked_on, '') <> 'turn'
   and d.ordered
   and exists (select 1 from deliveries earlier
                where earlier.endpoint_id = d.endpoint_id
                  and earlier.build_id = d.build_id
                  and earlier.seq < d.seq
                  and earlier.settled_at is null)
union all
select 'a delivery waits for its turn, and there is none before it', d.id
  from deliveries d
 where d.parked_on = 'turn'
   and not exists (select 1 from deliveries earlier
                    where earlier.endpoint_id = d.endpoint_id
                      and earlier.build_id = d.build_id
                      and earlier.seq < d.seq
                      and earlier.settled_at is null)
union all
select 'work is parked at a gate that no claim looks at', w.id
  from (select 'plans' as lane, id, parked_on from builds where parked_on is not null
        union all
        select 'tasks', id, parked_on from tasks where parked_on is not null
        union all
        select 'deliveries', id, parked_on from deliveries where parked_on is not null) w
 where w.parked_on not in ('time', 'turn')
   and not exists (select 1 from parks p where p.lane = w.lane and p.gate = w.parked_on)
union all
select 'the file is damaged: ' || integrity_check, '' from pragma_integrity_check
 where integrity_check <> 'ok'
union all
select 'a row refers to nothing', "table" from pragma_foreign_key_check
