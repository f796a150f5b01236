//! Queues: how much waits, for how long, and how fast it goes.

use std::time::Duration;

use axum::{Json, extract::State};

use crate::{
    Api, Error,
    query::Query,
    wire::fleet::{Queue, Queues},
};

/// The queue is asked only beside the record, which says the same without it.
const QUEUE_WITHIN: Duration = Duration::from_secs(1);

/// List queues
#[utoipa::path(
    get, path = "/v1/queues", operation_id = "list_queues", tag = "fleet",
    responses((status = 200, description = "All queues", body = Queues)),
)]
pub async fn list(State(api): State<Api>, query: Query) -> Result<Json<Queues>, Error> {
    query.finish()?;
    let lanes = api.store.lanes().await?;
    let depths =
        lanes.iter().map(|lane| tokio::time::timeout(QUEUE_WITHIN, api.queue.depth(lane.lane)));
    let depths = futures_util::future::join_all(depths).await;
    let queues = lanes
        .into_iter()
        .zip(depths)
        .map(|(lane, depth)| Queue::of(lane, depth.ok().and_then(Result::ok)))
        .collect();
    Ok(Json(Queues { queues }))
}
