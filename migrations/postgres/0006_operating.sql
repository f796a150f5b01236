-- Serve the listing of what was given up, last given up first.
create index builds_failed on builds (settled_at desc, id desc) where state = 'failed';
create index tasks_failed on tasks (settled_at desc, id desc) where state = 'failed';
create index deliveries_exhausted on deliveries (settled_at desc, id desc)
  where state = 'exhausted';
