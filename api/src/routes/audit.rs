//! The audit: what was changed by hand, by whom and why.

use axum::{Json, extract::State};
use buildfleet::store::AuditWanted;

use crate::{
    Api, Error, query,
    query::Query,
    wire::audit::{Audit, AuditEntry},
};

/// Read the audit
///
/// Changes of limits, weights and pauses, and what was done to many at once. Newest first.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "list_audit", tag = "scheduling",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "10 if absent"),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{1,40}$",
         description = "The `next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = Audit),
        (status = 400, description = "`bad_query`: every bad parameter is in `detail.fields`"),
    ),
)]
pub async fn list(State(api): State<Api>, mut query: Query) -> Result<Json<Audit>, Error> {
    let wanted = AuditWanted { limit: query.limit(), before: query.cursor() };
    query.finish()?;
    let page = api.store.audit(&wanted).await?;
    let next_cursor = page.rows.last().filter(|_| page.next).map(|entry| query::cursor(entry.id));
    Ok(Json(Audit { entries: page.rows.into_iter().map(AuditEntry::from).collect(), next_cursor }))
}
