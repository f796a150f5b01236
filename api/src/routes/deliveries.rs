//! Deliveries: what was told to whom, why it failed, and telling it once more.

use std::collections::HashMap;

use axum::{Json, extract::State, http::StatusCode};
use buildfleet::{
    domain::{
        delivery,
        id::{BuildId, DeliveryId},
    },
    job::Job,
    store::{self, DeliveriesWanted},
};

use crate::{
    Api, Error,
    auth::TENANT,
    query,
    query::{Id, Query, one_of},
    wire::{
        delivery::{Deliveries, Delivery, DeliveryAttempt, DeliveryWithAttempts},
        waiting::Waiting,
    },
};

/// List deliveries
///
/// Newest first.
#[utoipa::path(
    get, path = "/v1/deliveries", operation_id = "list_deliveries", tag = "deliveries",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "10 if absent"),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{40}$", description = "The `next_cursor` of the page before"),
        ("build" = Option<String>, Query, pattern = "^bld_[0-7][0-9A-HJKMNP-TV-Z]{25}$", description = "Only of this build: `bld_...`"),
        ("state" = Option<crate::wire::DeliveryState>, Query),
    ),
    responses(
        (status = 200, description = "A page", body = Deliveries),
        (status = 400, description = "`bad_query`: every bad parameter is named in `detail.fields`"),
    ),
)]
pub async fn list(State(api): State<Api>, mut query: Query) -> Result<Json<Deliveries>, Error> {
    let words = delivery::State::ALL.iter().map(|state| state.as_str());
    let wanted = DeliveriesWanted {
        tenant: TENANT.to_owned(),
        build: query.parsed::<BuildId>("build", "the id of a build"),
        state: query.parsed("state", one_of(words)),
        limit: query.limit(),
        after: query.cursor(),
    };
    query.finish()?;

    let page = api.store.deliveries(&wanted).await?;
    let next_cursor =
        page.rows.last().filter(|_| page.next).map(|delivery| query::cursor(delivery.id));
    Ok(Json(Deliveries { deliveries: shown(&api, page.rows).await?, next_cursor }))
}

/// Look at a delivery and its attempts
#[utoipa::path(
    get, path = "/v1/deliveries/{id}", operation_id = "get_delivery", tag = "deliveries",
    params(("id" = String, Path, description = "`dlv_...`")),
    responses((status = 200, description = "The delivery", body = DeliveryWithAttempts)),
)]
pub async fn show(
    State(api): State<Api>,
    Id(id): Id<DeliveryId>,
    query: Query,
) -> Result<Json<DeliveryWithAttempts>, Error> {
    query.finish()?;
    let delivery = api.store.delivery(id).await?;
    let attempts = api.store.delivery_attempts(id).await?;
    Ok(Json(DeliveryWithAttempts {
        delivery: one(&api, delivery).await?,
        attempts: attempts.into_iter().map(DeliveryAttempt::from).collect(),
    }))
}

/// Deliver once more
///
/// Sends a delivery again that was delivered or given up, with as many attempts as the first time.
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/redeliver", operation_id = "redeliver", tag = "deliveries",
    params(("id" = String, Path, description = "`dlv_...`")),
    responses(
        (status = 202, description = "The delivery, which is sent again", body = Delivery),
        (status = 409, description = "`delivery_not_final`: it is still being delivered"),
    ),
)]
pub async fn redeliver(
    State(api): State<Api>,
    Id(id): Id<DeliveryId>,
    query: Query,
) -> Result<(StatusCode, Json<Delivery>), Error> {
    query.finish()?;
    let delivery = api.store.redeliver(id).await?;
    Ok((StatusCode::ACCEPTED, Json(one(&api, delivery).await?)))
}

async fn one(api: &Api, delivery: store::Delivery) -> Result<Delivery, Error> {
    shown(api, vec![delivery]).await?.pop().ok_or_else(Error::internal)
}

/// Deliveries with what keeps them waiting, asked for together.
async fn shown(api: &Api, deliveries: Vec<store::Delivery>) -> Result<Vec<Delivery>, Error> {
    let open = deliveries.iter().filter(|delivery| !delivery.state.is_final());
    let open: Vec<_> = open.map(|delivery| Job::Delivery(delivery.id)).collect();
    let mut waits = if open.is_empty() { HashMap::new() } else { api.store.waits(&open).await? };
    let shown = deliveries.into_iter().map(|delivery| {
        let waiting = waits.remove(&Job::Delivery(delivery.id)).map(Waiting::from);
        Delivery { waiting, ..Delivery::from(delivery) }
    });
    Ok(shown.collect())
}
