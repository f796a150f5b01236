//! Endpoints: who is told what happens, and how they fare.

use axum::{
    Json,
    extract::State,
    http::{HeaderName, StatusCode, header},
};
use buildfleet::{
    domain::{endpoint, id::EndpointId},
    draw,
    store::{self, EndpointsWanted, KeptSecret, NewTenantEndpoint},
};
use secrecy::SecretString;

use crate::{
    Api, Error,
    auth::TENANT,
    body, query,
    query::{Id, Query, one_of},
    routes::builds::are_same,
    wire::{
        delivery::Delivery,
        endpoint::{
            Disabling, Endpoint, EndpointWithSecret, Endpoints, NewEndpoint, Rotation,
            read_disabling, read_endpoint, read_rotation,
        },
        submission::draw_secret,
    },
};

/// List endpoints
///
/// Those that hear of all builds, newest first. The target of one build is shown with that build.
#[utoipa::path(
    get, path = "/v1/endpoints", operation_id = "list_endpoints", tag = "deliveries",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "10 if absent"),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{40}$",
         description = "The `next_cursor` of the page before"),
        ("state" = Option<crate::wire::EndpointState>, Query),
    ),
    responses(
        (status = 200, description = "A page", body = Endpoints),
        (status = 400, description = "`bad_query`: every bad parameter is in `detail.fields`"),
    ),
)]
pub async fn list(State(api): State<Api>, mut query: Query) -> Result<Json<Endpoints>, Error> {
    let words = endpoint::State::ALL.iter().map(|state| state.as_str());
    let wanted = EndpointsWanted {
        tenant: TENANT.to_owned(),
        state: query.parsed("state", one_of(words)),
        limit: query.limit(),
        after: query.cursor(),
    };
    query.finish()?;
    let page = api.store.endpoints(&wanted).await?;
    let next_cursor =
        page.rows.last().filter(|_| page.next).map(|endpoint| query::cursor(endpoint.id));
    Ok(Json(Endpoints {
        endpoints: page.rows.into_iter().map(Endpoint::from).collect(),
        next_cursor,
    }))
}

/// Add an endpoint
///
/// It hears of whatever happens in any build from now on.
#[utoipa::path(
    post, path = "/v1/endpoints", operation_id = "add_endpoint", tag = "deliveries",
    request_body = NewEndpoint,
    responses(
        (status = 201, description = "The endpoint, with its secret", body = EndpointWithSecret),
        (status = 422, description = "`invalid_request`: every bad field is in `detail.fields`"),
    ),
)]
pub async fn add(
    State(api): State<Api>,
    query: Query,
    body::Json(body): body::Json,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<EndpointWithSecret>), Error> {
    query.finish()?;
    let (settings, secret) = read_endpoint(&body, &api.settings.webhook_targets, None)
        .map_err(|faults| Error::invalid(&faults))?;
    let secret = secret.unwrap_or_else(draw_secret);
    let id: EndpointId = draw::id();
    let kept = api.settings.vault.seal(&secret, TENANT);
    let new = NewTenantEndpoint { id, tenant: TENANT.to_owned(), settings, secret: kept };
    let kept = api.store.add_endpoint(new).await?;
    let location = [(header::LOCATION, format!("/v1/endpoints/{id}"))];
    Ok((StatusCode::CREATED, location, Json(EndpointWithSecret::of(kept, &secret))))
}

/// Look at an endpoint
#[utoipa::path(
    get, path = "/v1/endpoints/{id}", operation_id = "get_endpoint", tag = "deliveries",
    params(("id" = String, Path, description = "`end_...`")),
    responses((status = 200, description = "The endpoint", body = Endpoint)),
)]
pub async fn show(
    State(api): State<Api>,
    Id(id): Id<EndpointId>,
    query: Query,
) -> Result<Json<Endpoint>, Error> {
    query.finish()?;
    Ok(Json(own(&api, id).await?.into()))
}

/// Change an endpoint
///
/// Gives it other settings, all of them; its secrets stay. Deliveries that were made keep their
/// order. With another address, what was known of its health is forgotten.
#[utoipa::path(
    put, path = "/v1/endpoints/{id}", operation_id = "change_endpoint", tag = "deliveries",
    params(("id" = String, Path, description = "`end_...`")),
    request_body = NewEndpoint,
    responses(
        (status = 200, description = "The endpoint", body = Endpoint),
        (status = 422, description = "`invalid_request`: every bad field is in `detail.fields`"),
    ),
)]
pub async fn change(
    State(api): State<Api>,
    Id(id): Id<EndpointId>,
    query: Query,
    body::Json(body): body::Json,
) -> Result<Json<Endpoint>, Error> {
    query.finish()?;
    let before = own(&api, id).await?.settings.headers;
    let (settings, _) = read_endpoint(&body, &api.settings.webhook_targets, Some(&before))
        .map_err(|faults| Error::invalid(&faults))?;
    Ok(Json(api.store.change_endpoint(id, &settings).await?.into()))
}

/// Remove an endpoint
///
/// Its open deliveries are given up; what was delivered stays in the record.
#[utoipa::path(
    delete, path = "/v1/endpoints/{id}", operation_id = "remove_endpoint", tag = "deliveries",
    params(("id" = String, Path, description = "`end_...`")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "`endpoint_of_build`: it goes with its build"),
    ),
)]
pub async fn remove(
    State(api): State<Api>,
    Id(id): Id<EndpointId>,
    query: Query,
) -> Result<StatusCode, Error> {
    query.finish()?;
    own(&api, id).await?;
    api.store.remove_endpoint(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Rotate a secret
///
/// The new secret signs from the next request on, and the one before beside it until its grace is
/// over: each request then carries a signature of each.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/rotate", operation_id = "rotate_secret", tag = "deliveries",
    params(("id" = String, Path, description = "`end_...`")),
    request_body(content = Option<Rotation>, content_type = "application/json"),
    responses(
        (status = 200, description = "The endpoint, with its secret", body = EndpointWithSecret),
        (status = 422, description = "`invalid_request`: every bad field is in `detail.fields`"),
    ),
)]
pub async fn rotate(
    State(api): State<Api>,
    Id(id): Id<EndpointId>,
    query: Query,
    body::MaybeJson(body): body::MaybeJson,
) -> Result<Json<EndpointWithSecret>, Error> {
    query.finish()?;
    let before = own(&api, id).await?;
    let (secret, grace) = read_rotation(body.as_ref()).map_err(|faults| Error::invalid(&faults))?;
    let kept = kept_as(&api, &before, &secret);
    let rotated = api.store.rotate_secret(id, kept, grace).await?;
    Ok(Json(EndpointWithSecret::of(rotated, &secret)))
}

/// Enable an endpoint
///
/// What waits for it is sent. What happened while it was disabled was not for it; see `recover`.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/enable", operation_id = "enable_endpoint", tag = "deliveries",
    params(("id" = String, Path, description = "`end_...`")),
    responses((status = 200, description = "The endpoint", body = Endpoint)),
)]
pub async fn enable(
    State(api): State<Api>,
    Id(id): Id<EndpointId>,
    query: Query,
) -> Result<Json<Endpoint>, Error> {
    query.finish()?;
    own(&api, id).await?;
    Ok(Json(api.store.enable_endpoint(id).await?.into()))
}

/// Disable an endpoint
///
/// Nothing is sent to it until it is enabled; what waits for it goes on waiting.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/disable", operation_id = "disable_endpoint",
    tag = "deliveries",
    params(("id" = String, Path, description = "`end_...`")),
    request_body(content = Option<Disabling>, content_type = "application/json"),
    responses(
        (status = 200, description = "The endpoint", body = Endpoint),
        (status = 422, description = "`invalid_request`: every bad field is in `detail.fields`"),
    ),
)]
pub async fn disable(
    State(api): State<Api>,
    Id(id): Id<EndpointId>,
    query: Query,
    body::MaybeJson(body): body::MaybeJson,
) -> Result<Json<Endpoint>, Error> {
    query.finish()?;
    own(&api, id).await?;
    let reason = read_disabling(body.as_ref()).map_err(|faults| Error::invalid(&faults))?;
    Ok(Json(api.store.disable_endpoint(id, &reason).await?.into()))
}

/// Send a test
///
/// An event of the type `endpoint_test`, whatever it wants to hear; in its body `buildId` is null.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/test", operation_id = "test_endpoint", tag = "deliveries",
    params(("id" = String, Path, description = "`end_...`")),
    responses(
        (status = 202, description = "The delivery of the test", body = Delivery),
        (status = 409, description = "`endpoint_disabled`"),
    ),
)]
pub async fn test(
    State(api): State<Api>,
    Id(id): Id<EndpointId>,
    query: Query,
) -> Result<(StatusCode, Json<Delivery>), Error> {
    query.finish()?;
    let delivery = api.store.test_endpoint(TENANT, id).await?;
    Ok((StatusCode::ACCEPTED, Json(delivery.into())))
}

/// A secret as the endpoint keeps it: what it has already stays as it is, so that the store sees
/// that it is the same.
fn kept_as(api: &Api, endpoint: &store::Endpoint, secret: &SecretString) -> SecretString {
    let vault = &api.settings.vault;
    let is_it = |kept: &&KeptSecret| {
        vault.open(&kept.secret, TENANT).is_ok_and(|opened| are_same(&opened, secret))
    };
    match endpoint.secrets.iter().find(is_it) {
        Some(kept) => kept.secret.clone(),
        None => vault.seal(secret, TENANT),
    }
}

/// The endpoint, if it is the client's.
pub async fn own(api: &Api, id: EndpointId) -> Result<store::Endpoint, Error> {
    let endpoint = api.store.endpoint(id).await?;
    if endpoint.tenant == TENANT {
        Ok(endpoint)
    } else {
        Err(Error::not_found(format!("{id} does not exist")))
    }
}
