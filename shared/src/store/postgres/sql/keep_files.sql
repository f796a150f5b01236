insert into files (build_id, task_id, path, sha256, size_bytes, content)
select $1, $2, path, sha256, length(content), content
  from unnest($3::text[], $4::text[], $5::bytea[]) as f (path, sha256, content)
on conflict (build_id, path) do update
   set task_id = excluded.task_id,
       sha256 = excluded.sha256,
       size_bytes = excluded.size_bytes,
       content = excluded.content,
       at = clock_timestamp()
-- A row that was there before has been replaced by this transaction.
returning xmax = 0 as is_new
