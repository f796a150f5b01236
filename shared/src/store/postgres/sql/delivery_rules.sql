-- All that a claim of deliveries must know, in one answer.
select (select coalesce(json_agg(l order by l.name), '[]')
          from limits l
         where l.lane is null or l.lane = 'deliveries') as limits,
       array(select gate from pauses) as paused,
       array(select gate from parks where lane = 'deliveries') as parks,
       exists (
         select 1 from deliveries where parked_on = 'time' and due_at <= clock_timestamp()
       ) as any_due,
       (select coalesce(json_agg(f), '[]')
          from (
            select tenant, kind, endpoint_id, count(*) as running,
                   count(*) filter (where holder = $1) as own
              from (
                -- In the order of that index and for as many as there may be, so that it is walked:
                -- a walk clears away entries of what has ended, a bitmap reads them again and again.
                select tenant, kind, endpoint_id, holder
                  from deliveries
                 where state = 'in_progress'
                 order by leased_until
                 limit $2
              ) d
             group by tenant, kind, endpoint_id
          ) f) as flying,
       (select virtual_time from lanes where lane = 'deliveries') as virtual_time
