//! Workers: who takes work, and how busy they are.

use axum::{Json, extract::State};

use crate::{
    Api, Error,
    query::Query,
    wire::fleet::{Worker, Workers},
};

/// List workers
///
/// Every process that has said within the last hour that it lives; one that was silent for more
/// than a minute is `lost`.
#[utoipa::path(
    get, path = "/v1/workers", operation_id = "list_workers", tag = "fleet",
    responses((status = 200, description = "All workers", body = Workers)),
)]
pub async fn list(State(api): State<Api>, query: Query) -> Result<Json<Workers>, Error> {
    query.finish()?;
    let workers = api.store.workers().await?;
    Ok(Json(Workers { workers: workers.into_iter().map(Worker::from).collect() }))
}
