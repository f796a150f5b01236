-- What is parked at each gate of each lane, up to $1 at a gate and $2 gates of a lane.
select *
  from (
    select k.lane, k.gate,
           case k.lane
             when 'plans' then (
               select count(*) from (
                 select 1 from builds
                  where parked_on = k.gate and parked_on <> 'time' limit $1
               ) w)
             when 'tasks' then (
               select count(*) from (
                 select 1 from tasks
                  where parked_on = k.gate and parked_on <> 'time' limit $1
               ) w)
             else (
               select count(*) from (
                 select 1 from deliveries
                  where parked_on = k.gate and parked_on not in ('time', 'turn') limit $1
               ) w)
           end as parked
      from (
        select lane, gate, row_number() over (partition by lane order by gate) as place from parks
      ) k
     where k.place <= $2
  ) k
 where 0 < parked
 order by array_position(array['plans', 'tasks', 'deliveries'], lane), gate
