with claimed as (
  update builds
     set state = $2,
         attempt = attempt + 1,
         holder = $3,
         leased_until = clock_timestamp() + make_interval(secs => $4),
         due_at = null,
         started_at = coalesce(started_at, clock_timestamp()),
         updated_at = clock_timestamp()
   where id = any($1)
     -- Written so that rows are found by key, not by walking all that is claimable.
     and state is not distinct from 'queued'
     and parked_on is null
  returning id, attempt, brief, rank
), begun as (
  insert into planning_attempts (build_id, number, holder, state)
  select id, attempt, $3, $5 from claimed
)
select id, attempt, brief from claimed order by rank, id
