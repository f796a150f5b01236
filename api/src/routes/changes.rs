//! What clients change of single tasks: add them, take them out, give them another go, and begin
//! another build in the middle of one.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use buildfleet::{
    domain::{
        id::{BuildId, TaskId},
        settle::ByHand,
    },
    store,
};

use crate::{
    Api, Error, body,
    query::{Id, Query},
    wire::{
        build::{Build, Urls},
        changes::{Forked, NewTasks, TakenOut},
        plan::{Task, Tasks},
    },
};

/// What is kept where no reason is given.
const REASON: &str = "no reason was given";

/// Add tasks to a build
///
/// They follow on those it has. What they wait for may be there or come with them; keys that the
/// build has already are refused, so that a call which is made twice adds once.
#[utoipa::path(
    post, path = "/v1/builds/{id}/tasks", operation_id = "add_tasks", tag = "tasks",
    params(("id" = String, Path, description = "`bld_...`")),
    request_body = NewTasks,
    responses(
        (status = 201, description = "The tasks that were added", body = Tasks),
        (status = 409, description = "`build_is_final`: it has ended; `build_not_executing`: its \
            tasks do not run yet"),
        (status = 422, description = "`invalid_request`: every bad task is named in \
            `detail.fields`; `tasks_refused`: with those that are there they make no plan"),
    ),
)]
pub async fn add(
    State(api): State<Api>,
    Id(id): Id<BuildId>,
    query: Query,
    body::Json(body): body::Json,
) -> Result<(StatusCode, Json<Tasks>), Error> {
    query.finish()?;
    let tasks = NewTasks::read(&body).map_err(|faults| Error::invalid(&faults))?;
    let added = api.store.add_tasks(id, &tasks).await.map_err(|error| match error {
        store::Error::Conflict { code: code @ "tasks_refused", reason } => {
            Error::new(StatusCode::UNPROCESSABLE_ENTITY, code, reason)
        }
        other => other.into(),
    })?;
    let tasks = added.into_iter().map(Task::from).collect();
    Ok((StatusCode::CREATED, Json(Tasks { tasks })))
}

/// Cancel a task
///
/// A running attempt loses its lease. What it means for those who wait for it, their dependencies
/// say; the build cannot complete any more. A task that was cancelled already is answered as it is.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/cancel", operation_id = "cancel_task", tag = "tasks",
    params(("id" = String, Path, description = "`tsk_...`")),
    request_body = Option<TakenOut>,
    responses(
        (status = 200, description = "The task", body = Task),
        (status = 409, description = "`task_is_final`: it has ended otherwise; \
            `build_not_executing`: its plan waits for approval"),
        (status = 422, description = "`invalid_request`: every bad field is named in \
            `detail.fields`"),
    ),
)]
pub async fn cancel(
    State(api): State<Api>,
    Id(id): Id<TaskId>,
    query: Query,
    body::MaybeJson(body): body::MaybeJson,
) -> Result<Json<Task>, Error> {
    query.finish()?;
    take_out(&api, id, ByHand::Cancel, body.as_ref()).await
}

/// Skip a task
///
/// As cancelling it, but on purpose: a build that lost nothing else completes. A task that was
/// skipped already is answered as it is.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/skip", operation_id = "skip_task", tag = "tasks",
    params(("id" = String, Path, description = "`tsk_...`")),
    request_body = Option<TakenOut>,
    responses(
        (status = 200, description = "The task", body = Task),
        (status = 409, description = "`task_is_final`: it has ended otherwise; \
            `build_not_executing`: its plan waits for approval"),
        (status = 422, description = "`invalid_request`: every bad field is named in \
            `detail.fields`"),
    ),
)]
pub async fn skip(
    State(api): State<Api>,
    Id(id): Id<TaskId>,
    query: Query,
    body::MaybeJson(body): body::MaybeJson,
) -> Result<Json<Task>, Error> {
    query.finish()?;
    take_out(&api, id, ByHand::Skip, body.as_ref()).await
}

async fn take_out(
    api: &Api,
    id: TaskId,
    how: ByHand,
    body: Option<&serde_json::Value>,
) -> Result<Json<Task>, Error> {
    let reason = TakenOut::read(body).map_err(|faults| Error::invalid(&faults))?;
    let task = api.store.end_task(id, how, reason.as_deref().unwrap_or(REASON)).await?;
    Ok(Json(task.into()))
}

/// Retry a task
///
/// One that failed, was skipped or was cancelled, with whatever was lost because of it alone. Opens
/// its build if that has ended.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/retry", operation_id = "retry_task", tag = "tasks",
    params(("id" = String, Path, description = "`tsk_...`")),
    responses(
        (status = 202, description = "The task, which runs again", body = Task),
        (status = 409, description = "`task_not_retryable`: it is not lost, or something that it \
            needs is"),
    ),
)]
pub async fn retry(
    State(api): State<Api>,
    Id(id): Id<TaskId>,
    query: Query,
) -> Result<(StatusCode, Json<Task>), Error> {
    query.finish()?;
    let task = api.store.retry_task(id).await?;
    Ok((StatusCode::ACCEPTED, Json(task.into())))
}

/// Fork a build at a task
///
/// Begins another build of the same brief, in which the task and all that waits for it run again;
/// what has completed besides is taken over with its files. Events go where those of the other
/// build go.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/fork", operation_id = "fork_task", tag = "tasks",
    params(("id" = String, Path, description = "`tsk_...`")),
    request_body = Option<Forked>,
    responses(
        (status = 201, description = "The new build, which executes", body = Build),
        (status = 409, description = "`plan_not_adopted`: the task's plan never took effect"),
        (status = 422, description = "`invalid_request`: every bad field is named in \
            `detail.fields`"),
    ),
)]
pub async fn fork(
    State(api): State<Api>,
    Id(id): Id<TaskId>,
    query: Query,
    body::MaybeJson(body): body::MaybeJson,
) -> Result<(StatusCode, HeaderMap, Json<Build>), Error> {
    query.finish()?;
    let input = Forked::read(body.as_ref()).map_err(|faults| Error::invalid(&faults))?;
    let build = api.store.fork(id, input.as_ref()).await?;
    let mut headers = HeaderMap::new();
    if let Ok(location) = HeaderValue::from_str(&Urls::of(&build).this) {
        headers.insert(header::LOCATION, location);
    }
    Ok((StatusCode::CREATED, headers, Json(build.into())))
}
