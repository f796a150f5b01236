-- The record of a fleet: builds, their plans and tasks, their events, files and deliveries.
-- States are words; a test compares these lists with the enums of the domain.
-- The same record as that of Postgres, column by column; see there for what serves what. Instants are
-- milliseconds since 1970 by the database's clock, JSON is text, content is bytes.

create table builds (
  id              text not null primary key,
  tenant          text not null,
  brief           text not null,
  priority        integer not null check (priority between 1 and 5),
  project_id      text,
  on_task_failure text not null check (on_task_failure in ('continue', 'fail_fast')),
  state           text not null check (state in
                    ('queued', 'planning', 'pending_approval', 'executing',
                     'completed', 'failed', 'cancelled')),
  idempotency_key text,
  request_hash    text,
  -- Planning is leased work of its own: the attempt is its fence.
  attempt         integer not null default 0,
  failures        integer not null default 0,
  crashes         integer not null default 0,
  due_at          integer,
  holder          text,
  leased_until    integer,
  deadline_at     integer,
  plan_id         text,
  stop_code       text,
  stop_message    text,
  tasks           integer not null default 0,
  completed       integer not null default 0,
  failed          integer not null default 0,
  skipped         integer not null default 0,
  cancelled       integer not null default 0,
  files           integer not null default 0,
  last_seq        integer not null default 0,
  created_at      integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  started_at      integer,
  settled_at      integer,
  updated_at      integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  unique (tenant, idempotency_key),
  check ((state in ('completed', 'failed', 'cancelled')) = (settled_at is not null)),
  check ((state = 'planning') = (leased_until is not null)),
  check ((state = 'queued') = (due_at is not null))
) strict;

-- Serves the listing of a tenant's builds, newest first.
create index builds_by_tenant on builds (tenant, id desc);
-- Serves `forgotten`.
create index builds_queued on builds (due_at) where state = 'queued';
-- Serves `lapsed`.
create index builds_planning on builds (leased_until) where state = 'planning';
-- Serves `end_overdue`.
create index builds_with_deadline on builds (deadline_at) where settled_at is null;

create table planning_attempts (
  build_id   text not null references builds,
  number     integer not null,
  holder     text not null,
  state      text not null check (state in
               ('running', 'succeeded', 'failed', 'lost', 'given_back', 'cancelled')),
  failure    text,
  started_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  settled_at integer,
  primary key (build_id, number),
  check ((state = 'running') = (settled_at is null))
) strict;

create table plans (
  id             text not null primary key,
  build_id       text not null references builds,
  state          text not null check (state in ('proposed', 'adopted', 'rejected')),
  spec           text not null,
  project_type   text not null,
  framework      text not null,
  complexity     text not null check (complexity in ('simple', 'moderate', 'complex')),
  notes          text not null,
  estimated_secs integer not null,
  straightened   text not null,
  created_at     integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  approve_until  integer,
  check (state <> 'proposed' or approve_until is not null)
) strict;

create index plans_by_build on plans (build_id);
-- Serves `end_overdue`.
create index plans_proposed on plans (approve_until) where state = 'proposed';

create table tasks (
  id             text not null primary key,
  build_id       text not null references builds,
  plan_id        text not null references plans,
  -- Its position in the plan, from 0.
  place          integer not null,
  key            text not null,
  name           text not null,
  description    text not null,
  phase          text not null check (phase in
                   ('ANALYSIS', 'ARCHITECTURE', 'CODE_GENERATION', 'TESTING', 'DEPLOYMENT')),
  operation      text not null check (operation in
                   ('create_file', 'modify_file', 'create_component', 'setup_config', 'install_deps')),
  role           text not null,
  priority       integer not null,
  estimated_secs integer not null,
  writes         text not null,
  input          text not null,
  state          text not null check (state in
                   ('pending', 'ready', 'in_progress', 'completed', 'failed', 'skipped', 'cancelled')),
  -- How many of its dependencies have not completed.
  waiting_on     integer not null check (waiting_on >= 0),
  attempt        integer not null default 0,
  failures       integer not null default 0,
  crashes        integer not null default 0,
  due_at         integer,
  holder         text,
  leased_until   integer,
  failure        text,
  logs           text not null default '[]',
  started_at     integer,
  settled_at     integer,
  unique (plan_id, place),
  unique (plan_id, key),
  check ((state in ('completed', 'failed', 'skipped', 'cancelled')) = (settled_at is not null)),
  check ((state = 'in_progress') = (leased_until is not null)),
  check ((state = 'ready') = (due_at is not null))
) strict;

create index tasks_by_build on tasks (build_id);
-- Serves `forgotten` and the depth of the lane.
create index tasks_ready on tasks (due_at) where state = 'ready';
-- Serves `lapsed`.
create index tasks_in_progress on tasks (leased_until) where state = 'in_progress';
-- Serves the rate of the lane.
create index tasks_settled on tasks (settled_at) where settled_at is not null;

-- Serves what a build has open: how many tasks are ready, which phase is the earliest.
create index tasks_open on tasks (build_id, state, phase) where settled_at is null;

-- `task_id` waits for `on_task_id`.
create table dependencies (
  task_id    text not null references tasks,
  on_task_id text not null references tasks,
  primary key (task_id, on_task_id),
  check (task_id <> on_task_id)
) strict, without rowid;

-- Serves the release of dependents.
create index dependencies_by_target on dependencies (on_task_id);

create table task_attempts (
  task_id    text not null references tasks,
  number     integer not null,
  holder     text not null,
  state      text not null check (state in
               ('running', 'succeeded', 'failed', 'lost', 'given_back', 'cancelled')),
  failure    text,
  started_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  settled_at integer,
  primary key (task_id, number),
  check ((state = 'running') = (settled_at is null))
) strict;

create table events (
  build_id text not null references builds,
  seq      integer not null,
  id       text not null unique,
  kind     text not null,
  at       integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  data     text not null,
  primary key (build_id, seq)
) strict;

-- The newest content of each path of a build.
create table files (
  build_id   text not null references builds,
  path       text not null,
  task_id    text not null references tasks,
  sha256     text not null,
  size_bytes integer not null,
  content    blob not null,
  at         integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  primary key (build_id, path)
) strict;

create table endpoints (
  id         text not null primary key,
  -- The build whose events it hears.
  build_id   text not null references builds,
  url        text not null,
  secret     text not null,
  -- The kinds it wants; all if empty.
  events     text not null,
  created_at integer not null default (cast(unixepoch('subsec') * 1000 as integer))
) strict;

create index endpoints_by_build on endpoints (build_id);

create table deliveries (
  id           text not null primary key,
  tenant       text not null,
  build_id     text not null references builds,
  endpoint_id  text not null references endpoints,
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
  -- An event is told to an endpoint once.
  unique (endpoint_id, build_id, seq),
  foreign key (build_id, seq) references events (build_id, seq),
  check ((state in ('delivered', 'exhausted')) = (settled_at is not null)),
  check ((state = 'in_progress') = (leased_until is not null)),
  check ((state = 'pending') = (due_at is not null))
) strict;

create index deliveries_by_tenant on deliveries (tenant, id desc);
create index deliveries_by_build on deliveries (build_id);
-- Serves the order of deliveries: which is the earliest that is still open.
create index deliveries_open on deliveries (endpoint_id, build_id, seq) where settled_at is null;
-- Serves `forgotten`.
create index deliveries_pending on deliveries (due_at) where state = 'pending';
-- Serves `lapsed`.
create index deliveries_in_progress on deliveries (leased_until) where state = 'in_progress';
-- Serves the rate of the lane.
create index deliveries_settled on deliveries (settled_at) where settled_at is not null;

create table delivery_attempts (
  delivery_id text not null references deliveries,
  number      integer not null,
  holder      text not null,
  state       text not null check (state in
                ('running', 'succeeded', 'failed', 'lost', 'given_back', 'cancelled')),
  status      integer,
  failure     text,
  took_ms     integer,
  excerpt     text,
  started_at  integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  settled_at  integer,
  primary key (delivery_id, number),
  check ((state = 'running') = (settled_at is null))
) strict;

-- What still has to become a job. A row is written by the commit that makes the work ready.
-- Numbers are never given twice: clearing a row late must not clear another one.
create table outbox (
  id       integer primary key autoincrement,
  job      text not null,
  priority integer not null,
  due_at   integer not null
) strict;

-- Serves the relay: the order in which rows become jobs.
create index outbox_in_turn on outbox (priority, due_at);
-- Serves `outbox_next`.
create index outbox_due on outbox (due_at);
-- Serves `forgotten`: whether a job is on its way.
create index outbox_by_job on outbox (job);

create table workers (
  holder     text not null primary key,
  program    text not null,
  host       text not null,
  version    text not null,
  lane       text not null check (lane in ('plans', 'tasks', 'deliveries')),
  slots      integer not null,
  busy       integer not null,
  started_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
  beat_at    integer not null default (cast(unixepoch('subsec') * 1000 as integer))
) strict;
