//! Replays: many deliveries sent again, however many, with progress.

use axum::{Json, extract::State, http::StatusCode};
use buildfleet::{
    domain::id::{EndpointId, ReplayId},
    draw,
    store::{ReplayState, ReplayWanted},
};

use super::endpoints;
use crate::{
    Api, Error,
    auth::{By, TENANT},
    body,
    query::{Id, Query},
    wire::replay::{
        NewRecovery, NewReplay, Replay, ReplayAnswer, Replays, read_recovery, read_replay,
    },
};

/// Send deliveries again
///
/// All that are final and meet the filter, in the order in which they were made. With `dry_run`
/// they are only counted. It goes on in the background.
#[utoipa::path(
    post, path = "/v1/replays", operation_id = "begin_replay", tag = "deliveries",
    params(("X-Reason" = Option<String>, Header, max_length = 200, description = "Why")),
    request_body = NewReplay,
    responses(
        (status = 200, description = "How many it would be", body = ReplayAnswer),
        (status = 202, description = "It has begun", body = ReplayAnswer),
        (status = 400, description = "`malformed_json` with line and column, or `bad_reason`"),
        (status = 422, description = "`invalid_request`: every bad field is in `detail.fields`"),
    ),
)]
pub async fn begin(
    State(api): State<Api>,
    By(by): By,
    query: Query,
    body::Json(body): body::Json,
) -> Result<(StatusCode, Json<ReplayAnswer>), Error> {
    query.finish()?;
    let (wanted, dry_run) = read_replay(TENANT, &body).map_err(|faults| Error::invalid(&faults))?;
    answer(&api, &wanted, dry_run, &by).await
}

/// Recover an endpoint
///
/// Sends it what it has missed since an instant: deliveries that were given up, and events of which
/// it was never told since it was disabled or not there. With `dry_run` they are only counted.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/recover", operation_id = "recover_endpoint",
    tag = "deliveries",
    params(
        ("id" = String, Path, description = "`end_...`"),
        ("X-Reason" = Option<String>, Header, max_length = 200, description = "Why"),
    ),
    request_body = NewRecovery,
    responses(
        (status = 200, description = "How many it would be", body = ReplayAnswer),
        (status = 202, description = "It has begun", body = ReplayAnswer),
        (status = 400, description = "`malformed_json` with line and column, or `bad_reason`"),
        (status = 422, description = "`invalid_request`: every bad field is in `detail.fields`"),
    ),
)]
pub async fn recover(
    State(api): State<Api>,
    Id(id): Id<EndpointId>,
    By(by): By,
    query: Query,
    body::Json(body): body::Json,
) -> Result<(StatusCode, Json<ReplayAnswer>), Error> {
    query.finish()?;
    endpoints::own(&api, id).await?;
    let (wanted, dry_run) =
        read_recovery(TENANT, id, &body).map_err(|faults| Error::invalid(&faults))?;
    answer(&api, &wanted, dry_run, &by).await
}

async fn answer(
    api: &Api,
    wanted: &ReplayWanted,
    dry_run: bool,
    by: &str,
) -> Result<(StatusCode, Json<ReplayAnswer>), Error> {
    if dry_run {
        let matched = api.store.count_replay(wanted).await?;
        return Ok((StatusCode::OK, Json(ReplayAnswer { matched, replay: None })));
    }
    let replay = api.store.begin_replay(draw::id(), wanted, by).await?;
    let answer = ReplayAnswer { matched: replay.total, replay: Some(replay.into()) };
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// List replays
///
/// The newest hundred, newest first.
#[utoipa::path(
    get, path = "/v1/replays", operation_id = "list_replays", tag = "deliveries",
    responses((status = 200, description = "Replays", body = Replays)),
)]
pub async fn list(State(api): State<Api>, query: Query) -> Result<Json<Replays>, Error> {
    query.finish()?;
    let replays = api.store.replays(TENANT).await?;
    Ok(Json(Replays { replays: replays.into_iter().map(Replay::from).collect() }))
}

/// Look at a replay
#[utoipa::path(
    get, path = "/v1/replays/{id}", operation_id = "get_replay", tag = "deliveries",
    params(("id" = String, Path, description = "`rpl_...`")),
    responses((status = 200, description = "The replay", body = Replay)),
)]
pub async fn show(
    State(api): State<Api>,
    Id(id): Id<ReplayId>,
    query: Query,
) -> Result<Json<Replay>, Error> {
    query.finish()?;
    Ok(Json(own(&api, id).await?))
}

/// Pause a replay
#[utoipa::path(
    post, path = "/v1/replays/{id}/pause", operation_id = "pause_replay", tag = "deliveries",
    params(("id" = String, Path, description = "`rpl_...`")),
    responses(
        (status = 200, description = "The replay", body = Replay),
        (status = 409, description = "`replay_ended`"),
    ),
)]
pub async fn pause(
    State(api): State<Api>,
    Id(id): Id<ReplayId>,
    query: Query,
) -> Result<Json<Replay>, Error> {
    steer(&api, id, query, ReplayState::Paused).await
}

/// Let a replay go on
#[utoipa::path(
    post, path = "/v1/replays/{id}/resume", operation_id = "resume_replay", tag = "deliveries",
    params(("id" = String, Path, description = "`rpl_...`")),
    responses(
        (status = 200, description = "The replay", body = Replay),
        (status = 409, description = "`replay_ended`"),
    ),
)]
pub async fn resume(
    State(api): State<Api>,
    Id(id): Id<ReplayId>,
    query: Query,
) -> Result<Json<Replay>, Error> {
    steer(&api, id, query, ReplayState::Running).await
}

/// Cancel a replay
///
/// What it has sent already is on its way.
#[utoipa::path(
    post, path = "/v1/replays/{id}/cancel", operation_id = "cancel_replay", tag = "deliveries",
    params(("id" = String, Path, description = "`rpl_...`")),
    responses(
        (status = 200, description = "The replay", body = Replay),
        (status = 409, description = "`replay_ended`"),
    ),
)]
pub async fn cancel(
    State(api): State<Api>,
    Id(id): Id<ReplayId>,
    query: Query,
) -> Result<Json<Replay>, Error> {
    steer(&api, id, query, ReplayState::Cancelled).await
}

async fn steer(
    api: &Api,
    id: ReplayId,
    query: Query,
    to: ReplayState,
) -> Result<Json<Replay>, Error> {
    query.finish()?;
    own(api, id).await?;
    Ok(Json(api.store.steer_replay(id, to).await?.into()))
}

/// The replay, if it is the client's.
async fn own(api: &Api, id: ReplayId) -> Result<Replay, Error> {
    let replay = api.store.replay(id).await?;
    if replay.tenant == TENANT {
        Ok(replay.into())
    } else {
        Err(Error::not_found(format!("{id} does not exist")))
    }
}
