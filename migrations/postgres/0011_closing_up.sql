-- Flows out of which work has gone that nobody had claimed: they are closed up.
alter table flows
  -- When that was; until the flow is closed up.
  add column gapped_at timestamptz,
  -- When it is looked at once more, for work that was on its way into it meanwhile.
  add column look_at   timestamptz;

create index flows_gapped on flows (lane, tenant, priority)
  where gapped_at is not null or look_at is not null;
