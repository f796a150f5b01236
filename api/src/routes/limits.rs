//! Limits: how much may run at once over the whole fleet, and how often something may begin.

use axum::{Json, extract::State, http::StatusCode};

use crate::{
    Api, Error,
    auth::By,
    body,
    query::{Name, Query},
    wire::limit::{Limit, Limits, NewLimit, read_limit},
};

/// List limits
#[utoipa::path(
    get, path = "/v1/limits", operation_id = "list_limits", tag = "scheduling",
    responses((status = 200, description = "All limits", body = Limits)),
)]
pub async fn list(State(api): State<Api>, query: Query) -> Result<Json<Limits>, Error> {
    query.finish()?;
    let limits = api.store.limits().await?;
    Ok(Json(Limits { limits: limits.into_iter().map(Limit::from).collect() }))
}

/// Make or replace a limit
///
/// It holds over all replicas from the next claim on; what runs goes on. What is over it waits and
/// is not looked at again until there is room.
#[utoipa::path(
    put, path = "/v1/limits/{name}", operation_id = "put_limit", tag = "scheduling",
    params(
        ("name" = String, Path, min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9_.-]+$"),
        ("X-Reason" = Option<String>, Header, max_length = 200, description = "Why"),
    ),
    request_body = NewLimit,
    responses(
        (status = 200, description = "The limit", body = Limit),
        (status = 400, description = "`malformed_json` with line and column, or `bad_reason`"),
        (status = 422, description = "`invalid_request`: every bad field is in `detail.fields`"),
    ),
)]
pub async fn put(
    State(api): State<Api>,
    Name(name): Name,
    By(by): By,
    query: Query,
    body::Json(body): body::Json,
) -> Result<Json<Limit>, Error> {
    query.finish()?;
    let limit = read_limit(name, &body).map_err(|faults| Error::invalid(&faults))?;
    api.store.put_limit(&limit, &by).await?;
    Ok(Json(limit.into()))
}

/// Remove a limit
///
/// What waits there is let go.
#[utoipa::path(
    delete, path = "/v1/limits/{name}", operation_id = "remove_limit", tag = "scheduling",
    params(
        ("name" = String, Path),
        ("X-Reason" = Option<String>, Header, max_length = 200, description = "Why"),
    ),
    responses((status = 204, description = "It is gone")),
)]
pub async fn remove(
    State(api): State<Api>,
    Name(name): Name,
    By(by): By,
    query: Query,
) -> Result<StatusCode, Error> {
    query.finish()?;
    api.store.remove_limit(&name, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}
