-- The record schedules: what is claimed next is decided here, and the queue only wakes.
-- Leased work has a rank, and a gate at which it is parked while it may not be claimed.

create table lanes (
  lane         text primary key check (lane in ('plans', 'tasks', 'deliveries')),
  -- The start tag of what was claimed last.
  virtual_time double precision not null default 0
);

insert into lanes (lane) values ('plans'), ('tasks'), ('deliveries');

-- Where the next work of a tenant at a priority follows on.
create table flows (
  lane     text not null references lanes,
  tenant   text not null,
  priority smallint not null,
  last     double precision not null,
  primary key (lane, tenant, priority)
);

-- Tenants whose share of a lane is not 1.
create table weights (
  tenant text primary key,
  weight double precision not null check (weight > 0)
);

create table limits (
  name        text primary key,
  lane        text references lanes,
  by          text not null check (by in ('all', 'kind', 'tenant', 'key')),
  value       text,
  concurrency integer,
  rate_count  integer,
  rate_secs   double precision,
  check (concurrency is not null or rate_count is not null),
  check ((rate_count is null) = (rate_secs is null))
);

-- What the requirements ask for (S2-8, S2-9, S2-10).
insert into limits (name, lane, by, concurrency, rate_count, rate_secs) values
  ('plans', 'plans', 'all', 2, null, null),
  ('tasks', 'tasks', 'all', 5, null, null),
  ('deliveries', 'deliveries', 'all', 10, 20, 1);

-- What is left of a rate.
create table buckets (
  limit_name text not null references limits,
  value      text not null,
  tokens     double precision not null,
  at         timestamptz not null,
  primary key (limit_name, value)
);

-- Gates that somebody has shut.
create table pauses (
  gate text primary key,
  by   text not null,
  at   timestamptz not null default clock_timestamp()
);

-- Gates at which work of a lane may be parked, except those of time and turn.
create table parks (
  lane text not null references lanes,
  gate text not null,
  primary key (lane, gate)
);

-- What was changed by hand.
create table audit (
  id      bigint generated always as identity primary key,
  at      timestamptz not null default clock_timestamp(),
  by      text not null,
  action  text not null,
  subject text not null,
  detail  json not null
);

alter table builds
  add column limit_key text,
  add column rank      double precision,
  add column parked_on text;
update builds set rank = 0, parked_on = 'time' where state = 'queued';
alter table builds
  add check (state <> 'queued' or rank is not null),
  add check (state = 'queued' or parked_on is null);

alter table tasks
  -- Of its build; here since every claim looks at them.
  add column tenant    text not null default '',
  add column band      smallint not null default 3,
  add column limit_key text,
  add column cost      smallint not null default 1 check (cost > 0),
  add column rank      double precision,
  add column parked_on text;
update tasks t set tenant = b.tenant, band = b.priority from builds b where b.id = t.build_id;
update tasks set rank = 0, parked_on = 'time' where state = 'ready';
alter table tasks
  alter column tenant drop default,
  alter column band drop default,
  add check (state <> 'ready' or rank is not null),
  add check (state = 'ready' or parked_on is null);

alter table deliveries
  add column band      smallint not null default 3,
  add column rank      double precision,
  add column parked_on text;
update deliveries d set band = b.priority from builds b where b.id = d.build_id;
update deliveries set rank = 0, parked_on = 'turn' where state = 'pending';
update deliveries d
   set parked_on = 'time'
 where state = 'pending'
   and not exists (
     select 1
       from deliveries earlier
      where earlier.endpoint_id = d.endpoint_id
        and earlier.build_id = d.build_id
        and earlier.seq < d.seq
        and earlier.settled_at is null
   );
alter table deliveries
  alter column band drop default,
  add check (state <> 'pending' or rank is not null),
  add check (state = 'pending' or parked_on is null);

-- Serve claims.
create index builds_claimable on builds (rank, id) where state = 'queued' and parked_on is null;
create index tasks_claimable on tasks (rank, id) where state = 'ready' and parked_on is null;
create index deliveries_claimable on deliveries (rank, id)
  where state = 'pending' and parked_on is null;
-- Serve `next_due`, and letting out what is due.
create index builds_timed on builds (due_at) where parked_on = 'time';
create index tasks_timed on tasks (due_at) where parked_on = 'time';
create index deliveries_timed on deliveries (due_at) where parked_on = 'time';
-- Serve letting out what is parked.
create index builds_parked on builds (parked_on, rank) where parked_on <> 'time';
create index tasks_parked on tasks (parked_on, rank) where parked_on <> 'time';
create index deliveries_parked on deliveries (parked_on, rank)
  where parked_on not in ('time', 'turn');

-- What wrote most and served least: each entry costs every claim and every settle.
drop table outbox;
drop index builds_queued;
drop index tasks_ready;
drop index deliveries_pending;
-- The unique place of each task finds the tasks of a plan, and so of a build; keys are compared when a plan is made.
drop index tasks_by_build;
drop index tasks_open;
alter table tasks drop constraint tasks_plan_id_key_key;
-- Drawn with their time and 80 bits of chance, and looked up by build and number.
alter table events drop constraint events_id_key;
-- These rows are written under the lock of their build, by the commit that made or just read what
-- they point to. Looking it up again costs as much as the row.
alter table events drop constraint events_build_id_fkey;
alter table task_attempts drop constraint task_attempts_task_id_fkey;
alter table dependencies drop constraint dependencies_task_id_fkey;
alter table dependencies drop constraint dependencies_on_task_id_fkey;
