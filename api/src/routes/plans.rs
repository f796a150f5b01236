//! Plans: look at what will be done, and say yes or no to it.

use axum::{Json, extract::State};
use buildfleet::domain::{
    brief::Fault,
    id::{BuildId, PlanId},
};

use super::builds::one;
use crate::{
    Api, Error, body,
    query::{Id, Query},
    wire::{
        build::Build,
        fields::{Fields, nuls},
        plan::{Plan, Rejection},
    },
};

const REASON_CHARS_MAX: usize = 2000;
/// What is told where no reason is given.
const REASON: &str = "no reason was given";

/// Look at a build's plan
///
/// The newest one; 404 before there is one.
#[utoipa::path(
    get, path = "/v1/builds/{id}/plan", operation_id = "get_plan", tag = "plans",
    params(("id" = String, Path, description = "`bld_...`")),
    responses((status = 200, description = "The plan", body = Plan)),
)]
pub async fn of_build(
    State(api): State<Api>,
    Id(id): Id<BuildId>,
    query: Query,
) -> Result<Json<Plan>, Error> {
    query.finish()?;
    Ok(Json(api.store.plan_of(id).await?.into()))
}

/// Approve a plan
///
/// Its first tasks become ready.
#[utoipa::path(
    post, path = "/v1/plans/{id}/approve", operation_id = "approve_plan", tag = "plans",
    params(("id" = String, Path, description = "`pln_...`")),
    responses(
        (status = 200, description = "The build, which executes", body = Build),
        (status = 409, description = "`plan_not_proposed`: it was decided already"),
    ),
)]
pub async fn approve(
    State(api): State<Api>,
    Id(id): Id<PlanId>,
    query: Query,
) -> Result<Json<Build>, Error> {
    query.finish()?;
    let build = api.store.approve_plan(id).await?;
    Ok(Json(one(&api, build).await?))
}

/// Reject a plan
///
/// Its build fails with `plan_rejected`.
#[utoipa::path(
    post, path = "/v1/plans/{id}/reject", operation_id = "reject_plan", tag = "plans",
    params(("id" = String, Path, description = "`pln_...`")),
    request_body = Option<Rejection>,
    responses(
        (status = 200, description = "The build, which has failed", body = Build),
        (status = 409, description = "`plan_not_proposed`: it was decided already"),
        (status = 422, description = "`invalid_request`: every bad field is named in `detail.fields`"),
    ),
)]
pub async fn reject(
    State(api): State<Api>,
    Id(id): Id<PlanId>,
    query: Query,
    body::MaybeJson(body): body::MaybeJson,
) -> Result<Json<Build>, Error> {
    query.finish()?;
    let reason = reason(body.as_ref()).map_err(|faults| Error::invalid(&faults))?;
    let build = api.store.reject_plan(id, "plan_rejected", &reason).await?;
    Ok(Json(one(&api, build).await?))
}

fn reason(body: Option<&serde_json::Value>) -> Result<String, Vec<Fault>> {
    let Some(body) = body.filter(|body| !body.is_null()) else { return Ok(REASON.to_owned()) };
    let Some(map) = body.as_object() else {
        return Err(vec![Fault::new("", "the body must be an object such as {\"reason\": ...}")]);
    };
    let mut fields = Fields::new("", map);
    let reason = fields.text("reason");
    nuls(body, "", &mut fields.faults);
    if reason.as_ref().is_some_and(|reason| REASON_CHARS_MAX < reason.chars().count()) {
        fields.fault("reason", format!("must have at most {REASON_CHARS_MAX} characters"));
    }
    let faults = fields.finish();
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(reason.filter(|reason| !reason.trim().is_empty()).unwrap_or_else(|| REASON.to_owned()))
}
