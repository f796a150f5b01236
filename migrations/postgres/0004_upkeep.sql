-- What is remembered beyond a build, and what forgetting needs.

-- Whether its tasks may be answered with results of others, and answer others.
alter table builds add column cache boolean not null default true;

-- Results that stand for the same work done again. Their files are those of a build, by reference:
-- an entry whose files are not there any more as they were answers nobody.
create table results (
  -- SHA-256 of all that the work depends on, in hex.
  key      text primary key,
  build_id text not null references builds,
  -- Path and SHA-256 of each file.
  files    json not null,
  logs     json not null,
  kept_at  timestamptz not null default clock_timestamp()
);

create index results_by_build on results (build_id);
-- Serves eviction.
create index results_by_age on results (kept_at);

-- Serves back-pressure: what each tenant has open.
create index builds_open on builds (tenant) where settled_at is null;
-- Serves retention, oldest first, and the rate at which builds end.
create index builds_settled on builds (settled_at) where settled_at is not null;
-- Serves retention: what a task wrote stands in its way.
create index files_by_task on files (task_id);
-- Serves retention of what was changed by hand.
create index audit_by_age on audit (at);

-- Serves retention: an event is gone from only once its deliveries are. And the list of deliveries.
drop index deliveries_by_build;
create index deliveries_by_event on deliveries (build_id, seq);

create index builds_forked on builds (forked_from) where forked_from is not null;
create index last_writers_by_task on last_writers (task_id);
