-- Flows out of which work has gone that nobody had claimed: they are closed up. That is done by the
-- same commit, unless so much waits in the flow that it is left to the upkeep.

-- When that was; until the flow is closed up.
alter table flows add column gapped_at integer;
-- As in Postgres, where work may be on its way into a flow. Never set here: nobody writes beside us.
alter table flows add column look_at integer;

create index flows_gapped on flows (lane, tenant, priority) where gapped_at is not null;
