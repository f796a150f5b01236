-- The builds are locked, and state and attempt were compared under that lock.
with adopted (id, attempt, state, plan_id, tasks, timeout, last_seq) as (
  select *
    from unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::integer[], $6::float8[],
                $7::bigint[])
), ended as (
  update planning_attempts a
     set state = $8, settled_at = clock_timestamp()
    from adopted
   where a.build_id = adopted.id and a.number = adopted.attempt
)
update builds b
   set state = adopted.state,
       plan_id = adopted.plan_id,
       holder = null,
       leased_until = null,
       tasks = adopted.tasks,
       last_seq = adopted.last_seq,
       deadline_at = coalesce(deadline_at, clock_timestamp() + make_interval(secs => timeout)),
       updated_at = clock_timestamp()
  from adopted
 where b.id = adopted.id
   and b.attempt = adopted.attempt -- the fence, once more
