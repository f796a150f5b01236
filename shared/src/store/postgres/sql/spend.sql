insert into buckets (limit_name, value, tokens, at)
select limit_name, value, tokens, clock_timestamp()
  from unnest($1::text[], $2::text[], $3::float8[]) as u (limit_name, value, tokens)
 order by limit_name, value
on conflict (limit_name, value) do update
   set tokens = excluded.tokens, at = excluded.at
