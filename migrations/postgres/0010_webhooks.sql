-- Endpoints of tenants beside those of builds, what is known of how they fare, and deliveries that are
-- claimed endpoint by endpoint.

alter table endpoints
  -- That of one build lives as long as the build, and has its tenant.
  alter column build_id drop not null,
  add column tenant        text,
  add column headers       json not null default '{}',
  add column rate          json,
  add column concurrency   integer,
  add column retry         json not null default '"required"',
  add column ordered       boolean not null default true,
  add column description   text not null default '',
  add column state         text not null default 'enabled'
               check (state in ('enabled', 'disabled', 'auto_disabled')),
  add column reason        text,
  -- Null is the health of one that nobody knows yet.
  add column health        json,
  add column health_at     timestamptz,
  add column held_until    timestamptz,
  -- Since when nothing has arrived.
  add column failing_at    timestamptz,
  add column removed_at    timestamptz,
  add column updated_at    timestamptz not null default clock_timestamp(),
  add check ((build_id is null) = (tenant is not null));

create index endpoints_by_tenant on endpoints (tenant, id desc) where build_id is null;

-- They go on signing until then.
create table old_secrets (
  endpoint_id text not null references endpoints on delete cascade,
  secret      text not null,
  live_until  timestamptz not null,
  primary key (endpoint_id, secret)
);

-- What is left of the rate of an endpoint. Apart, since it changes with each claim.
create table paces (
  endpoint_id text primary key,
  tokens      double precision not null,
  at          timestamptz not null default clock_timestamp()
);

-- An attempt is written once, when it has ended; while it runs, its delivery says so.
delete from delivery_attempts where state = 'running';

-- Rows are written by the commit that makes what they point to, under its lock. What is told about an
-- endpoint itself is in a log of its own, under the endpoint's ULID as a build's id.
alter table deliveries
  drop constraint deliveries_build_id_fkey,
  drop constraint deliveries_endpoint_id_fkey,
  drop constraint deliveries_build_id_seq_fkey,
  drop constraint deliveries_endpoint_id_build_id_seq_key,
  -- Whether it waits for those before it.
  add column ordered  boolean not null default true,
  -- When its newest attempt was begun.
  add column begun_at timestamptz;
update deliveries set begun_at = clock_timestamp() where state = 'in_progress';
alter table delivery_attempts drop constraint delivery_attempts_delivery_id_fkey,
  add column exchange json;
alter table events drop constraint if exists events_build_id_fkey;

-- An event is told to an endpoint once. Serves retention and the list of a build too.
drop index deliveries_by_event;
create unique index deliveries_by_event on deliveries (build_id, seq, endpoint_id);
create index deliveries_by_endpoint on deliveries (endpoint_id, id);
-- Serves the order of deliveries: whether an earlier one is still open.
drop index deliveries_open;
create index deliveries_open on deliveries (endpoint_id, build_id, seq)
  where settled_at is null and ordered;
-- Serves claims: what each endpoint has to do, and which endpoints have anything.
drop index deliveries_claimable;
create index deliveries_claimable on deliveries (endpoint_id, rank, id)
  where state = 'pending' and parked_on is null;

-- Deliveries that are sent once more, or for the first time, by what they have in common.
create table replays (
  id         text primary key,
  tenant     text not null,
  -- Which deliveries are meant, and whether those are meant too that were never made.
  wanted     json not null,
  state      text not null check (state in ('running', 'paused', 'done', 'cancelled')),
  -- As counted when it began.
  total      bigint not null,
  done       bigint not null default 0,
  -- The last delivery that was dealt with.
  place      text,
  by         text not null,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  settled_at timestamptz
);

create index replays_by_tenant on replays (tenant, id desc);
create index replays_running on replays (id) where state = 'running';

-- Numbers of what is told about endpoints.
create sequence endpoint_events;
