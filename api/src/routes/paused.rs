//! What is paused: builds, tenants and queues, with who did it.

use axum::{Json, extract::State};

use crate::{
    Api, Error,
    query::Query,
    wire::waiting::{Pause, Pauses},
};

/// List all that is paused
#[utoipa::path(
    get, path = "/v1/paused", operation_id = "list_paused", tag = "scheduling",
    responses((status = 200, description = "All that is paused", body = Pauses)),
)]
pub async fn list(State(api): State<Api>, query: Query) -> Result<Json<Pauses>, Error> {
    query.finish()?;
    all(&api).await
}

pub async fn all(api: &Api) -> Result<Json<Pauses>, Error> {
    let paused = api.store.paused().await?;
    Ok(Json(Pauses { paused: paused.into_iter().filter_map(Pause::of).collect() }))
}
