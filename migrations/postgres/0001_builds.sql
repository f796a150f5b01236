-- The record of a fleet: builds, their plans and tasks, their events, files and deliveries.
-- States are words; a test compares these lists with the enums of the domain. Documents are `json`,
-- not `jsonb`: they come back as they were written, in their order and with every character.

create table builds (
  id              text primary key,
  tenant          text not null,
  brief           json not null,
  priority        smallint not null check (priority between 1 and 5),
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
  due_at          timestamptz,
  holder          text,
  leased_until    timestamptz,
  deadline_at     timestamptz,
  plan_id         text,
  stop_code       text,
  stop_message    text,
  tasks           integer not null default 0,
  completed       integer not null default 0,
  failed          integer not null default 0,
  skipped         integer not null default 0,
  cancelled       integer not null default 0,
  files           integer not null default 0,
  last_seq        bigint not null default 0,
  created_at      timestamptz not null default clock_timestamp(),
  started_at      timestamptz,
  settled_at      timestamptz,
  updated_at      timestamptz not null default clock_timestamp(),
  unique (tenant, idempotency_key),
  check ((state in ('completed', 'failed', 'cancelled')) = (settled_at is not null)),
  check ((state = 'planning') = (leased_until is not null)),
  check ((state = 'queued') = (due_at is not null))
);

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
  failure    json,
  started_at timestamptz not null default clock_timestamp(),
  settled_at timestamptz,
  primary key (build_id, number),
  check ((state = 'running') = (settled_at is null))
);

-- Serves the rate of the lane.
create index planning_settled on planning_attempts (settled_at) where settled_at is not null;

create table plans (
  id             text primary key,
  build_id       text not null references builds,
  state          text not null check (state in ('proposed', 'adopted', 'rejected')),
  spec           json not null,
  project_type   text not null,
  framework      text not null,
  complexity     text not null check (complexity in ('simple', 'moderate', 'complex')),
  notes          json not null,
  estimated_secs integer not null,
  straightened   json not null,
  created_at     timestamptz not null default clock_timestamp(),
  approve_until  timestamptz,
  check (state <> 'proposed' or approve_until is not null)
);

create index plans_by_build on plans (build_id);
-- Serves `end_overdue`.
create index plans_proposed on plans (approve_until) where state = 'proposed';

create table tasks (
  id             text primary key,
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
                   ('create_file', 'modify_file', 'create_component', 'setup_config',
                    'install_deps')),
  role           text not null,
  priority       smallint not null,
  estimated_secs integer not null,
  writes         json not null,
  input          json not null,
  state          text not null check (state in
                   ('pending', 'ready', 'in_progress', 'completed', 'failed', 'skipped',
                    'cancelled')),
  -- How many of its dependencies have not completed.
  waiting_on     integer not null check (waiting_on >= 0),
  attempt        integer not null default 0,
  failures       integer not null default 0,
  crashes        integer not null default 0,
  due_at         timestamptz,
  holder         text,
  leased_until   timestamptz,
  failure        json,
  logs           json not null default '[]',
  started_at     timestamptz,
  settled_at     timestamptz,
  unique (plan_id, place),
  unique (plan_id, key),
  check ((state in ('completed', 'failed', 'skipped', 'cancelled')) = (settled_at is not null)),
  check ((state = 'in_progress') = (leased_until is not null)),
  check ((state = 'ready') = (due_at is not null))
);

create index tasks_by_build on tasks (build_id);
-- Serves the counts of open tasks.
create index tasks_open on tasks (plan_id) where settled_at is null;
-- Serves `forgotten` and the depth of the lane.
create index tasks_ready on tasks (due_at) where state = 'ready';
-- Serves `lapsed`.
create index tasks_in_progress on tasks (leased_until) where state = 'in_progress';
-- Serves the rate of the lane.
create index tasks_settled on tasks (settled_at) where settled_at is not null;

-- `task_id` waits for `on_task_id`.
create table dependencies (
  task_id    text not null references tasks,
  on_task_id text not null references tasks,
  primary key (task_id, on_task_id),
  check (task_id <> on_task_id)
);

-- Serves the release of dependents.
create index dependencies_by_target on dependencies (on_task_id);

create table task_attempts (
  task_id    text not null references tasks,
  number     integer not null,
  holder     text not null,
  state      text not null check (state in
               ('running', 'succeeded', 'failed', 'lost', 'given_back', 'cancelled')),
  failure    json,
  started_at timestamptz not null default clock_timestamp(),
  settled_at timestamptz,
  primary key (task_id, number),
  check ((state = 'running') = (settled_at is null))
);

create table events (
  build_id text not null references builds,
  seq      bigint not null,
  id       text not null unique,
  kind     text not null,
  at       timestamptz not null default clock_timestamp(),
  data     json not null,
  primary key (build_id, seq)
);

-- The newest content of each path of a build.
create table files (
  build_id   text not null references builds,
  -- Listed in the order of bytes, wherever the database was made.
  path       text collate "C" not null,
  task_id    text not null references tasks,
  sha256     text not null,
  size_bytes bigint not null,
  content    bytea not null,
  at         timestamptz not null default clock_timestamp(),
  primary key (build_id, path)
);

create table endpoints (
  id         text primary key,
  -- The build whose events it hears.
  build_id   text not null references builds,
  url        text not null,
  secret     text not null,
  -- The kinds it wants; all if empty.
  events     json not null,
  created_at timestamptz not null default clock_timestamp()
);

create index endpoints_by_build on endpoints (build_id);

create table deliveries (
  id           text primary key,
  tenant       text not null,
  build_id     text not null references builds,
  endpoint_id  text not null references endpoints,
  seq          bigint not null,
  kind         text not null,
  state        text not null check (state in ('pending', 'in_progress', 'delivered', 'exhausted')),
  attempt      integer not null default 0,
  failures     integer not null default 0,
  crashes      integer not null default 0,
  due_at       timestamptz,
  holder       text,
  leased_until timestamptz,
  failure      json,
  created_at   timestamptz not null default clock_timestamp(),
  settled_at   timestamptz,
  -- An event is told to an endpoint once.
  unique (endpoint_id, build_id, seq),
  foreign key (build_id, seq) references events (build_id, seq),
  check ((state in ('delivered', 'exhausted')) = (settled_at is not null)),
  check ((state = 'in_progress') = (leased_until is not null)),
  check ((state = 'pending') = (due_at is not null))
);

create index deliveries_by_tenant on deliveries (tenant, id desc);
create index deliveries_by_build on deliveries (build_id);
-- Serves the order of deliveries: whether an earlier one is still open.
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
  status      smallint,
  failure     json,
  took_ms     bigint,
  excerpt     text,
  started_at  timestamptz not null default clock_timestamp(),
  settled_at  timestamptz,
  primary key (delivery_id, number),
  check ((state = 'running') = (settled_at is null))
);

-- What still has to become a job. A row is written by the commit that makes the work ready.
create table outbox (
  id       bigint generated always as identity primary key,
  job      text not null,
  priority smallint not null,
  due_at   timestamptz not null
);

-- Serves the relay: what is due, in its order; and when the next row will be.
create index outbox_in_order on outbox (priority, due_at, id);
create index outbox_due on outbox (due_at);
-- Serves `forgotten`: whether a job is on its way.
create index outbox_by_job on outbox (job);

create table workers (
  holder     text primary key,
  program    text not null,
  host       text not null,
  version    text not null,
  lane       text not null check (lane in ('plans', 'tasks', 'deliveries')),
  slots      integer not null,
  busy       integer not null,
  started_at timestamptz not null default clock_timestamp(),
  beat_at    timestamptz not null default clock_timestamp()
);
