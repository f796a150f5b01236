-- What is remembered beyond a build, and what forgetting needs. The same as that of Postgres; see there.

alter table builds add column cache integer not null default 1;

create table results (
  key      text not null primary key,
  build_id text not null references builds,
  files    text not null,
  logs     text not null,
  kept_at  integer not null default (cast(unixepoch('subsec') * 1000 as integer))
) strict;

create index results_by_build on results (build_id);
create index results_by_age on results (kept_at);
create index builds_open on builds (tenant) where settled_at is null;
create index builds_settled on builds (settled_at) where settled_at is not null;
create index files_by_task on files (task_id);
create index audit_by_age on audit (at);

drop index deliveries_by_build;
create index deliveries_by_event on deliveries (build_id, seq);

create index builds_forked on builds (forked_from) where forked_from is not null;
create index last_writers_by_task on last_writers (task_id);
