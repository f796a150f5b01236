-- An attempt at a task is written once, when it ends: until then the task says who makes it and since
-- when. Its key refuses a second end.
alter table tasks add column begun_at timestamptz;
update tasks t
   set begun_at = a.started_at
  from task_attempts a
 where a.task_id = t.id and a.number = t.attempt and a.state = 'running'
   and t.state = 'in_progress';
delete from task_attempts where state = 'running';
alter table task_attempts alter column started_at drop default;

-- As the others before: a task is written by a commit that holds its build and has just written its
-- plan. To look both up once more is paid for by every task.
alter table tasks
  drop constraint tasks_build_id_fkey,
  drop constraint tasks_plan_id_fkey;
