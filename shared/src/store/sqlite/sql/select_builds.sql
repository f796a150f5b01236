-- Builds with what is told of their plan, tasks and endpoint. A `where` clause follows.
select b.*, p.estimated_secs, e.id as endpoint_id, e.url, e.secret,
       (select count(*) from tasks t
         where t.build_id = b.id and t.settled_at is null and t.state = 'ready') as ready,
       (select count(*) from tasks t
         where t.build_id = b.id and t.settled_at is null and t.state = 'in_progress')
         as in_progress,
       (select phases.column2
          from (values (1, 'ANALYSIS'), (2, 'ARCHITECTURE'), (3, 'CODE_GENERATION'),
                       (4, 'TESTING'), (5, 'DEPLOYMENT')) phases
         where exists (select 1 from tasks t
                        where t.build_id = b.id
                          and t.settled_at is null
                          and t.state in ('pending', 'ready', 'in_progress')
                          and t.phase = phases.column2)
         order by phases.column1
         limit 1) as open_phase
  from builds b
  left join plans p on p.id = b.plan_id
  left join endpoints e on e.build_id = b.id
