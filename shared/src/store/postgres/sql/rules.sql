-- All that a claim of lane $1 must know, in one answer.
select (select coalesce(json_agg(l order by l.name), '[]')
          from limits l
         where l.lane is null or l.lane = $1) as limits,
       array(select gate from pauses) as paused,
       array(select gate from parks where lane = $1) as parks
