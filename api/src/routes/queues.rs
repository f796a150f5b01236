//! Queues: how much waits, for how long, and how fast it goes.

use std::time::Duration;

use axum::{Json, extract::State};
use buildfleet::domain::limit::Gate;

use super::paused::all;
use crate::{
    Api, Error,
    auth::By,
    query,
    query::Query,
    wire::{
        fleet::{Queue, Queues},
        limit::Limit,
        waiting::{ParkedAt, Pause, Pauses},
    },
};

/// The queue is asked only beside the record, which says the same without it.
const QUEUE_WITHIN: Duration = Duration::from_secs(1);

/// List queues
///
/// What waits in each and where, what runs, whether it is paused, and the limits that its work
/// meets.
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
    let gates: Vec<_> = lanes.iter().map(|lane| Gate::Lane(lane.lane)).collect();
    let paused = api.store.paused_at(&gates).await?;
    let parked = api.store.parked().await?;
    let limits = api.store.limits().await?;
    let queues = lanes.into_iter().zip(depths).map(|(view, depth)| {
        let lane = view.lane;
        let own = |pause: &&buildfleet::store::Pause| pause.gate == Gate::Lane(lane);
        let meets =
            |limit: &&buildfleet::domain::limit::Limit| limit.lane.is_none_or(|of| of == lane);
        Queue {
            paused: paused.iter().find(own).cloned().and_then(Pause::of),
            parked: parked
                .iter()
                .filter(|parked| parked.lane == lane)
                .cloned()
                .map(ParkedAt::from)
                .collect(),
            limits: limits.iter().filter(meets).cloned().map(Limit::from).collect(),
            ..Queue::of(view, depth.ok().and_then(Result::ok))
        }
    });
    Ok(Json(Queues { queues: queues.collect() }))
}

/// Pause a queue
///
/// Nothing is taken from it; what runs goes on. Again is harmless.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/pause", operation_id = "pause_queue", tag = "fleet",
    params(
        ("queue" = crate::wire::QueueName, Path),
        ("X-Reason" = Option<String>, Header, max_length = 200, description = "Why"),
    ),
    responses(
        (status = 200, description = "All that is paused", body = Pauses),
        (status = 400, description = "`bad_query` or `bad_reason`"),
    ),
)]
pub async fn pause(
    State(api): State<Api>,
    query::Queue(lane): query::Queue,
    By(by): By,
    query: Query,
) -> Result<Json<Pauses>, Error> {
    query.finish()?;
    api.store.pause(&Gate::Lane(lane), &by).await?;
    all(&api).await
}

/// Resume a queue
///
/// Its work can be taken at once. Again is harmless.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/resume", operation_id = "resume_queue", tag = "fleet",
    params(
        ("queue" = crate::wire::QueueName, Path),
        ("X-Reason" = Option<String>, Header, max_length = 200, description = "Why"),
    ),
    responses(
        (status = 200, description = "All that is still paused", body = Pauses),
        (status = 400, description = "`bad_query` or `bad_reason`"),
    ),
)]
pub async fn resume(
    State(api): State<Api>,
    query::Queue(lane): query::Queue,
    By(by): By,
    query: Query,
) -> Result<Json<Pauses>, Error> {
    query.finish()?;
    api.store.resume(&Gate::Lane(lane), &by).await?;
    all(&api).await
}
