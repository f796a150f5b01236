insert into files (build_id, task_id, path, sha256, size_bytes, content)
select build_id, task_id, path, sha256, length(content), content
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[])
    as f (build_id, task_id, path, sha256, content)
on conflict (build_id, path) do update
   set task_id = excluded.task_id,
       sha256 = excluded.sha256,
       size_bytes = excluded.size_bytes,
       content = excluded.content,
       at = clock_timestamp()
-- A row that was there before has been replaced by this transaction.
returning build_id, xmax = 0 as is_new
