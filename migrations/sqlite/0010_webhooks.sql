-- Endpoints of tenants beside those of builds, what is known of how they fare, and deliveries that are
-- claimed endpoint by endpoint. The same as that of Postgres; see there. Tables are made anew where a
-- column or a reference has to go.

create table new_endpoints (
  id            text not null primary key,
  -- The build whose events it hears; that of a tenant hears of all its builds.
  build_id      text references builds,
  tenant        text,
  url           text not null,
  secret        text not null,
  -- The kinds it wants, or patterns of them; all about builds if empty.
  events        text not null,
  headers       text not null default '{}',
  rate          text,
  concurrency   integer,
  retry         text not null default '"required"',
  ordered       integer not null default 1,
  description   text not null default '',
  state         text not null default 'enabled'
                  check (state in ('enabled', 'disabled', 'auto_disabled')),
  reason        text,
  health        text,
  health_at     integer,
  held_until    integer,
  -- Since when nothing has arrived.
  failing_at    integer,
  removed_at    integer,
  created_at    integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  updated_at    integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  check ((build_id is null) = (tenant is not null))
) strict;

insert into new_endpoints (id, build_id, url, secret, events, created_at, updated_at)
select id, build_id, url, secret, events, created_at, created_at from endpoints;

create table new_events (
  build_id text not null,
  seq      integer not null,
  id       text not null unique,
  kind     text not null,
  at       integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  data     text not null,
  primary key (build_id, seq)
) strict;

insert into new_events select build_id, seq, id, kind, at, data from events;

create table new_deliveries (
  id           text not null primary key,
  tenant       text not null,
  build_id     text not null,
  endpoint_id  text not null,
  seq          integer not null,
  kind         text not null,
  state        text not null check (state in ('pending', 'in_progress', 'delivered', 'exhausted')),
  attempt      integer not null default 0,
  failures     integer not null default 0,
  crashes      integer not null default 0,
  due_at       integer,
  holder       text,
  leased_until integer,
  failure      text,
  created_at   integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  settled_at   integer,
  band         integer not null default 3,
  rank         real,
  parked_on    text,
  -- Whether it waits for those before it.
  ordered      integer not null default 1,
  -- When its newest attempt was begun.
  begun_at     integer,
  -- An event is told to an endpoint once.
  unique (endpoint_id, build_id, seq),
  check ((state in ('delivered', 'exhausted')) = (settled_at is not null)),
  check ((state = 'in_progress') = (leased_until is not null)),
  check ((state = 'pending') = (due_at is not null)),
  check (state <> 'pending' or rank is not null),
  check (state = 'pending' or parked_on is null)
) strict;

insert into new_deliveries
  (id, tenant, build_id, endpoint_id, seq, kind, state, attempt, failures, crashes, due_at, holder,
   leased_until, failure, created_at, settled_at, band, rank, parked_on)
select id, tenant, build_id, endpoint_id, seq, kind, state, attempt, failures, crashes, due_at, holder,
       leased_until, failure, created_at, settled_at, band, rank, parked_on
  from deliveries;

create table new_delivery_attempts (
  delivery_id text not null,
  number      integer not null,
  holder      text not null,
  state       text not null check (state in
                ('running', 'succeeded', 'failed', 'lost', 'given_back', 'cancelled')),
  status      integer,
  failure     text,
  took_ms     integer,
  excerpt     text,
  exchange    text,
  started_at  integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  settled_at  integer,
  primary key (delivery_id, number),
  check ((state = 'running') = (settled_at is null))
) strict;

insert into new_delivery_attempts
  (delivery_id, number, holder, state, status, failure, took_ms, excerpt, started_at, settled_at)
select delivery_id, number, holder, state, status, failure, took_ms, excerpt, started_at, settled_at
  from delivery_attempts;

drop table delivery_attempts;
drop table deliveries;
drop table events;
drop table endpoints;
alter table new_endpoints rename to endpoints;
alter table new_events rename to events;
alter table new_deliveries rename to deliveries;
alter table new_delivery_attempts rename to delivery_attempts;

create index endpoints_by_build on endpoints (build_id);
create index endpoints_by_tenant on endpoints (tenant, id desc) where build_id is null;
create index deliveries_by_tenant on deliveries (tenant, id desc);
create index deliveries_by_event on deliveries (build_id, seq);
create index deliveries_by_endpoint on deliveries (endpoint_id, id);
create index deliveries_open on deliveries (endpoint_id, build_id, seq) where settled_at is null;
create index deliveries_in_progress on deliveries (leased_until) where state = 'in_progress';
create index deliveries_settled on deliveries (settled_at) where settled_at is not null;
-- Serves claims: what each endpoint has to do, and which endpoints have anything.
create index deliveries_claimable on deliveries (endpoint_id, rank, id)
  where state = 'pending' and parked_on is null;
create index deliveries_timed on deliveries (due_at) where parked_on = 'time';
create index deliveries_parked on deliveries (parked_on, rank)
  where parked_on not in ('time', 'turn');
create index deliveries_exhausted on deliveries (settled_at desc, id desc)
  where state = 'exhausted';

create table old_secrets (
  endpoint_id text not null references endpoints on delete cascade,
  secret      text not null,
  live_until  integer not null,
  primary key (endpoint_id, secret)
) strict;

create table paces (
  endpoint_id text not null primary key,
  tokens      real not null,
  at          integer not null
) strict;

create table replays (
  id         text not null primary key,
  tenant     text not null,
  wanted     text not null,
  state      text not null check (state in ('running', 'paused', 'done', 'cancelled')),
  total      integer not null,
  done       integer not null default 0,
  place      text,
  by         text not null,
  created_at integer not null,
  updated_at integer not null,
  settled_at integer
) strict;

create index replays_by_tenant on replays (tenant, id desc);
create index replays_running on replays (id) where state = 'running';
