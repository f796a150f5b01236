-- Plans whose dependencies say what a loss means, that grow while they run, and that are forked.

-- What the loss of `on_task_id` means for `task_id`.
alter table dependencies
  add column on_loss text not null default 'skip'
    check (on_loss in ('skip', 'continue', 'fail_fast', 'always_run'));

-- Who writes each path of a plan last: whoever is added and writes it too comes after. Like what
-- follows, written under the lock of the build by commits that know what they point to.
create table last_writers (
  plan_id text not null,
  path    text not null,
  task_id text not null,
  primary key (plan_id, path)
);

-- The tasks of plans that have grown, by their keys. Filled when tasks are first added: an index of
-- keys would be paid for by every claim of every plan.
create table task_keys (
  plan_id text not null,
  key     text not null,
  task_id text not null,
  primary key (plan_id, key)
);

insert into last_writers (plan_id, path, task_id)
select distinct on (t.plan_id, w.path) t.plan_id, w.path, t.id
  from tasks t
 cross join lateral json_array_elements_text(t.writes) as w (path)
 order by t.plan_id, w.path, t.place desc;

alter table plans
  add column has_keys boolean not null default false,
  -- How long its tasks may take together, from when it takes effect; unless the brief says when the
  -- build must be done.
  add column timeout_secs integer check (timeout_secs > 0);

alter table builds
  -- The task of another build in whose middle it began.
  add column forked_from text references tasks;
