insert into results (key, build_id, files, logs)
select key, build_id, files::json, logs::json
  from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as u (key, build_id, files, logs)
 order by key
on conflict (key) do update
   set build_id = excluded.build_id,
       files = excluded.files,
       logs = excluded.logs,
       kept_at = clock_timestamp()
