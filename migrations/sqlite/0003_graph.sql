-- Plans whose dependencies say what a loss means, that grow while they run, and that are forked.

-- What the loss of `on_task_id` means for `task_id`.
alter table dependencies
  add column on_loss text not null default 'skip'
    check (on_loss in ('skip', 'continue', 'fail_fast', 'always_run'));

-- Who writes each path of a plan last: whoever is added and writes it too comes after.
create table last_writers (
  plan_id text not null references plans,
  path    text not null,
  task_id text not null references tasks,
  primary key (plan_id, path)
) strict, without rowid;

-- The tasks of plans that have grown, by their keys. Filled when tasks are first added.
create table task_keys (
  plan_id text not null references plans,
  key     text not null,
  task_id text not null references tasks,
  primary key (plan_id, key)
) strict, without rowid;

alter table plans add column has_keys integer not null default 0;

insert or replace into last_writers (plan_id, path, task_id)
select t.plan_id, w.value, t.id
  from tasks t, json_each(t.writes) w
 order by t.plan_id, t.place;

-- How long its tasks may take together, from when it takes effect; unless the brief says when the
-- build must be done.
alter table plans add column timeout_secs integer check (timeout_secs > 0);

-- The task of another build in whose middle it began.
alter table builds add column forked_from text references tasks;
