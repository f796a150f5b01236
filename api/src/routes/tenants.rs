//! Tenants: their shares, and whether they are paused.

use axum::{Json, extract::State};
use buildfleet::domain::limit::Gate;

use super::paused::all;
use crate::{
    Api, Error,
    auth::By,
    body,
    query::{Name, Query},
    wire::{
        limit::{NewWeight, Weight, Weights, read_weight, tenant_faults},
        waiting::Pauses,
    },
};

/// List weights
///
/// Tenants whose weight is not 1.
#[utoipa::path(
    get, path = "/v1/weights", operation_id = "list_weights", tag = "scheduling",
    responses((status = 200, description = "All weights", body = Weights)),
)]
pub async fn weights(State(api): State<Api>, query: Query) -> Result<Json<Weights>, Error> {
    query.finish()?;
    let weights = api.store.weights().await?;
    let weights = weights.into_iter().map(|(tenant, weight)| Weight { tenant, weight }).collect();
    Ok(Json(Weights { weights }))
}

/// Give a tenant a weight
///
/// Tenants that have work waiting share every queue by their weights, for work that becomes ready
/// from now on. 1 is what everybody has who was given nothing else.
#[utoipa::path(
    put, path = "/v1/weights/{name}", operation_id = "put_weight", tag = "scheduling",
    params(
        ("name" = String, Path, min_length = 1, max_length = 100),
        ("X-Reason" = Option<String>, Header, max_length = 200, description = "Why"),
    ),
    request_body = NewWeight,
    responses(
        (status = 200, description = "The weight", body = Weight),
        (status = 400, description = "`malformed_json` with line and column, or `bad_reason`"),
        (status = 422, description = "`invalid_request`: every bad field is in `detail.fields`"),
    ),
)]
pub async fn put_weight(
    State(api): State<Api>,
    Name(tenant): Name,
    By(by): By,
    query: Query,
    body::Json(body): body::Json,
) -> Result<Json<Weight>, Error> {
    query.finish()?;
    let weight = read_weight(&tenant, &body).map_err(|faults| Error::invalid(&faults))?;
    api.store.put_weight(&tenant, weight, &by).await?;
    Ok(Json(Weight { tenant, weight }))
}

/// Pause a tenant
///
/// Nothing of it is begun, in any queue; what runs goes on. Again is harmless.
#[utoipa::path(
    post, path = "/v1/tenants/{name}/pause", operation_id = "pause_tenant", tag = "scheduling",
    params(
        ("name" = String, Path, min_length = 1, max_length = 100),
        ("X-Reason" = Option<String>, Header, max_length = 200, description = "Why"),
    ),
    responses(
        (status = 200, description = "All that is paused", body = Pauses),
        (status = 400, description = "`bad_query` or `bad_reason`"),
        (status = 422, description = "`invalid_request`: no tenant can be called that"),
    ),
)]
pub async fn pause(
    State(api): State<Api>,
    Name(tenant): Name,
    By(by): By,
    query: Query,
) -> Result<Json<Pauses>, Error> {
    query.finish()?;
    api.store.pause(&gate(tenant)?, &by).await?;
    all(&api).await
}

/// Resume a tenant
///
/// Its work can be begun at once. Again is harmless.
#[utoipa::path(
    post, path = "/v1/tenants/{name}/resume", operation_id = "resume_tenant", tag = "scheduling",
    params(
        ("name" = String, Path, min_length = 1, max_length = 100),
        ("X-Reason" = Option<String>, Header, max_length = 200, description = "Why"),
    ),
    responses(
        (status = 200, description = "All that is still paused", body = Pauses),
        (status = 400, description = "`bad_query` or `bad_reason`"),
        (status = 422, description = "`invalid_request`: no tenant can be called that"),
    ),
)]
pub async fn resume(
    State(api): State<Api>,
    Name(tenant): Name,
    By(by): By,
    query: Query,
) -> Result<Json<Pauses>, Error> {
    query.finish()?;
    api.store.resume(&gate(tenant)?, &by).await?;
    all(&api).await
}

fn gate(tenant: String) -> Result<Gate, Error> {
    let faults = tenant_faults(&tenant);
    if faults.is_empty() { Ok(Gate::Tenant(tenant)) } else { Err(Error::invalid(&faults)) }
}
