//! Tasks: what is done, and every attempt at it.

use std::collections::HashMap;

use axum::{Json, extract::State};
use buildfleet::{
    domain::{
        id::{BuildId, TaskId},
        task,
    },
    job::Job,
    store,
};

use crate::{
    Api, Error,
    query::{Id, Query},
    wire::{
        plan::{Attempt, Task, TaskWithAttempts, Tasks},
        waiting::{Waiting, WaitsOn},
    },
};

/// List a build's tasks
///
/// All of the newest plan, in its order; none before there is a plan. Together they are the graph,
/// so they come in one piece.
#[utoipa::path(
    get, path = "/v1/builds/{id}/tasks", operation_id = "list_tasks", tag = "tasks",
    params(("id" = String, Path, description = "`bld_...`")),
    responses((status = 200, description = "All tasks", body = Tasks)),
)]
pub async fn of_build(
    State(api): State<Api>,
    Id(id): Id<BuildId>,
    query: Query,
) -> Result<Json<Tasks>, Error> {
    query.finish()?;
    let tasks = match api.store.build(id).await?.plan {
        Some(_) => api.store.tasks(id).await?,
        None => Vec::new(),
    };
    Ok(Json(Tasks { tasks: shown(&api, tasks).await? }))
}

/// Look at a task and its attempts
#[utoipa::path(
    get, path = "/v1/tasks/{id}", operation_id = "get_task", tag = "tasks",
    params(("id" = String, Path, description = "`tsk_...`")),
    responses((status = 200, description = "The task", body = TaskWithAttempts)),
)]
pub async fn show(
    State(api): State<Api>,
    Id(id): Id<TaskId>,
    query: Query,
) -> Result<Json<TaskWithAttempts>, Error> {
    query.finish()?;
    let task = api.store.task(id).await?;
    let attempts = api.store.task_attempts(id).await?;
    let task = shown(&api, vec![task]).await?.pop().ok_or_else(Error::internal)?;
    Ok(Json(TaskWithAttempts { task, attempts: attempts.into_iter().map(Attempt::from).collect() }))
}

/// Tasks with what keeps them waiting, asked for together.
async fn shown(api: &Api, tasks: Vec<store::Task>) -> Result<Vec<Task>, Error> {
    let ready = tasks.iter().filter(|task| task.state == task::State::Ready);
    let ready: Vec<_> = ready.map(|task| Job::Task(task.id)).collect();
    let mut waits = if ready.is_empty() { HashMap::new() } else { api.store.waits(&ready).await? };
    let shown = tasks.into_iter().map(|task| {
        let waiting = match task.state {
            task::State::Pending => Some(Waiting::on(WaitsOn::Dependencies)),
            _ => waits.remove(&Job::Task(task.id)).map(Waiting::from),
        };
        Task { waiting, ..Task::from(task) }
    });
    Ok(shown.collect())
}
