-- Flows out of which work has gone that nobody had claimed: they are closed up. That is done by the
-- same commit, unless so much waits in the flow that it is left to a sweep.
alter table flows add column gapped integer not null default 0;

create index flows_gapped on flows (lane, tenant, priority) where gapped;
