//! What was given up: builds, tasks and deliveries, each with its reasons.

use axum::{Json, extract::State};
use buildfleet::{domain::lane::Lane, store::FailedWanted};

use crate::{
    Api, Error, query,
    query::{Query, one_of},
    wire::failed::{FailedPage, FailedWork},
};

/// List what was given up
///
/// Work that failed for good, and work in quarantine (`code=quarantined`), which lost its workers
/// time after time. Last given up first. A build is retried by `POST /v1/builds/{id}/retry`, a
/// delivery is sent once more by `POST /v1/deliveries/{id}/redeliver`.
#[utoipa::path(
    get, path = "/v1/failed", operation_id = "list_failed", tag = "scheduling",
    params(
        ("kind" = Option<crate::wire::failed::WorkKind>, Query, description = "All if absent"),
        ("code" = Option<String>, Query, description = "Only of this code, such as `quarantined`"),
        ("tenant" = Option<String>, Query),
        ("since" = Option<String>, Query, format = DateTime, description = "Not before"),
        ("until" = Option<String>, Query, format = DateTime, description = "Before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "10 if absent"),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{1,80}$",
         description = "The `next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = FailedPage),
        (status = 400, description = "`bad_query`: every bad parameter is in `detail.fields`"),
    ),
)]
pub async fn list(State(api): State<Api>, mut query: Query) -> Result<Json<FailedPage>, Error> {
    let kind = query.parsed::<Kind>("kind", one_of(["build", "task", "delivery"]));
    let wanted = FailedWanted {
        lane: kind.map(|Kind(lane)| lane),
        code: query.text("code"),
        tenant: query.text("tenant"),
        at: query.span(),
        limit: query.limit(),
        after: query.cursor(),
    };
    query.finish()?;
    let page = api.store.failed(&wanted).await?;
    let next_cursor = page.rows.last().filter(|_| page.next).map(|row| query::cursor(row.place));
    Ok(Json(FailedPage {
        failed: page.rows.into_iter().map(FailedWork::from).collect(),
        next_cursor,
    }))
}

/// The lane in which such work waits.
struct Kind(Lane);

impl std::str::FromStr for Kind {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "build" => Ok(Kind(Lane::Plans)),
            "task" => Ok(Kind(Lane::Tasks)),
            "delivery" => Ok(Kind(Lane::Deliveries)),
            _ => Err(()),
        }
    }
}
