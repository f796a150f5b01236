-- Builds to be ended, longest overdue first: because of a plan that nobody approved, or of a
-- deadline.
select build_id, plan_id
  from (
    (select build_id, id as plan_id, approve_until as since
       from plans
      where state = 'proposed' and approve_until <= clock_timestamp()
      order by approve_until
      limit $1)
    union all
    (select id, null, deadline_at
       from builds
      where settled_at is null and deadline_at <= clock_timestamp()
      order by deadline_at
      limit $1)
  ) overdue
 order by since
 limit $1
