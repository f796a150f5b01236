//! Health: whether the process lives, and whether all that it leans on answers.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::json;

use crate::{
    Api, Error,
    wire::fleet::{Alive, Health, Ready},
};

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
    responses(
        (status = 200, description = "It lives", body = Alive),
        (status = 503, description = "`stands_still`: `detail` lists what makes no progress"),
    ),
)]
pub async fn alive(State(api): State<Api>) -> Result<Json<Alive>, Error> {
    let still = api.health.stalled();
    if still.is_empty() {
        return Ok(Json(Alive { status: "ok" }));
    }
    let message = format!("it stands still: {}", still.join(", "));
    Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, "stands_still", message)
        .with_detail(json!({ "loops": still })))
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
    let readiness = api.health.readiness().await;
    if readiness.is_ready() {
        return Ok(Json(Ready { status: "ok", store: "ok", queue: "ok" }));
    }
    let word = |up| if up { "ok" } else { "down" };
    let detail = json!({ "store": word(readiness.store), "queue": word(readiness.queue) });
    Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", readiness.to_string())
        .with_detail(detail))
}
