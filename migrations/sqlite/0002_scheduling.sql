-- The record schedules: what is claimed next is decided here, and the queue only wakes.
-- The same as that of Postgres; see there for what serves what. A check of several columns stands at
-- the last column that it needs: a table that exists takes no other. Defaults stay for the same
-- reason; every insert gives these columns itself.

create table lanes (
  lane         text not null primary key check (lane in ('plans', 'tasks', 'deliveries')),
  -- The start tag of what was claimed last.
  virtual_time real not null default 0
) strict;

insert into lanes (lane) values ('plans'), ('tasks'), ('deliveries');

-- Where the next work of a tenant at a priority follows on.
create table flows (
  lane     text not null references lanes,
  tenant   text not null,
  priority integer not null,
  last     real not null,
  primary key (lane, tenant, priority)
) strict, without rowid;

-- Tenants whose share of a lane is not 1.
create table weights (
  tenant text not null primary key,
  weight real not null check (weight > 0)
) strict;

create table limits (
  name        text not null primary key,
  lane        text references lanes,
  by          text not null check (by in ('all', 'kind', 'tenant', 'key')),
  value       text,
  concurrency integer,
  rate_count  integer,
  rate_secs   real,
  check (concurrency is not null or rate_count is not null),
  check ((rate_count is null) = (rate_secs is null))
) strict;

-- What the requirements ask for (S2-8, S2-9, S2-10).
insert into limits (name, lane, by, concurrency, rate_count, rate_secs) values
  ('plans', 'plans', 'all', 2, null, null),
  ('tasks', 'tasks', 'all', 5, null, null),
  ('deliveries', 'deliveries', 'all', 10, 20, 1);

-- What is left of a rate.
create table buckets (
  limit_name text not null references limits,
  value      text not null,
  tokens     real not null,
  at         integer not null,
  primary key (limit_name, value)
) strict, without rowid;

-- Gates that somebody has shut.
create table pauses (
  gate text not null primary key,
  by   text not null,
  at   integer not null default (cast(unixepoch('subsec') * 1000 as integer))
) strict;

-- Gates at which work of a lane may be parked, except those of time and turn.
create table parks (
  lane text not null references lanes,
  gate text not null,
  primary key (lane, gate)
) strict, without rowid;

-- What was changed by hand.
create table audit (
  id      integer primary key autoincrement,
  at      integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  by      text not null,
  action  text not null,
  subject text not null,
  detail  text not null
) strict;

alter table builds add column limit_key text;
alter table builds add column rank real;
update builds set rank = 0 where state = 'queued';
alter table builds add column parked_on text
  check (state <> 'queued' or rank is not null)
  check (state = 'queued' or parked_on is null);
update builds set parked_on = 'time' where state = 'queued';

-- Of its build; here since every claim looks at them.
alter table tasks add column tenant text not null default '';
alter table tasks add column band integer not null default 3;
alter table tasks add column limit_key text;
alter table tasks add column cost integer not null default 1 check (cost > 0);
alter table tasks add column rank real;
update tasks set tenant = b.tenant, band = b.priority from builds b where b.id = tasks.build_id;
update tasks set rank = 0 where state = 'ready';
alter table tasks add column parked_on text
  check (state <> 'ready' or rank is not null)
  check (state = 'ready' or parked_on is null);
update tasks set parked_on = 'time' where state = 'ready';

alter table deliveries add column band integer not null default 3;
alter table deliveries add column rank real;
update deliveries set band = b.priority from builds b where b.id = deliveries.build_id;
update deliveries set rank = 0 where state = 'pending';
alter table deliveries add column parked_on text
  check (state <> 'pending' or rank is not null)
  check (state = 'pending' or parked_on is null);
update deliveries set parked_on = 'turn' where state = 'pending';
update deliveries
   set parked_on = 'time'
 where state = 'pending'
   and not exists (
     select 1
       from deliveries earlier
      where earlier.endpoint_id = deliveries.endpoint_id
        and earlier.build_id = deliveries.build_id
        and earlier.seq < deliveries.seq
        and earlier.settled_at is null
   );

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
