-- An attempt at a task is written once, when it ends: until then the task says who makes it and since
-- when. Its key refuses a second end.
alter table tasks add column begun_at integer;
update tasks
   set begun_at = (select a.started_at
                     from task_attempts a
                    where a.task_id = tasks.id and a.number = tasks.attempt and a.state = 'running')
 where state = 'in_progress';
delete from task_attempts where state = 'running';
