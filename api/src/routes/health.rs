//! Health: whether the process lives, and whether all that it leans on answers.

use std::{future::Future, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use serde_json::json;

use crate::{
    Api, Error,
    wire::fleet::{Alive, Health, Ready},
};

/// Probes give up after a few seconds; they are to hear from us who was silent.
const PING_WITHIN: Duration = Duration::from_secs(2);

/// Say who one is
#[utoipa::path(
    get, path = "/health", operation_id = "health", tag = "health", security(()),
    responses((status = 200, description = "It lives", body = Health)),
)]
pub async fn health(State(api): State<Api>) -> Json<Health> {
    Json(Health {
        status: "ok",
        version: api.settings.version.clone(),
        environment: api.settings.environment.clone(),
        uptime_secs: api.started.elapsed().as_secs(),
    })
}

/// Say that one lives
#[utoipa::path(
    get, path = "/livez", operation_id = "livez", tag = "health", security(()),
    responses((status = 200, description = "It lives", body = Alive)),
)]
pub async fn alive() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// Say whether one can serve
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "health", security(()),
    responses(
        (status = 200, description = "It can serve", body = Ready),
        (status = 503, description = "`not_ready`: `detail` says which of `store` and `queue` is down"),
    ),
)]
pub async fn ready(State(api): State<Api>) -> Result<Json<Ready>, Error> {
    let (store, queue) = tokio::join!(answers(api.store.ping()), answers(api.queue.ping()));
    if store && queue && !api.stop.is_cancelled() {
        return Ok(Json(Ready { status: "ok", store: "ok", queue: "ok" }));
    }
    let word = |up| if up { "ok" } else { "down" };
    let down: Vec<_> = [("the store", store), ("the queue", queue)]
        .iter()
        .filter(|(_, up)| !up)
        .map(|(n, _)| *n)
        .collect();
    let message = match down.as_slice() {
        [] => "this process is stopping".to_owned(),
        down => format!("{} did not answer", down.join(" and ")),
    };
    Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message)
        .with_detail(json!({ "store": word(store), "queue": word(queue) })))
}

async fn answers<T, E>(ping: impl Future<Output = Result<T, E>>) -> bool {
    matches!(tokio::time::timeout(PING_WITHIN, ping).await, Ok(Ok(_)))
}
