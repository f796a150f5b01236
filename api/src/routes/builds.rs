//! Builds: post a brief, look at what came of it, stop it, try it again.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use buildfleet::{
    domain::{
        brief::Brief,
        build,
        id::{BuildId, EndpointId},
        limit::Gate,
    },
    draw,
    job::Job,
    store::{self, BuildsWanted, Idempotency, NewBuild, NewEndpoint, Submitted},
};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::{
    Api, Error,
    auth::{By, TENANT},
    body, query,
    query::{Id, Query, one_of},
    wire::{
        build::{Build, Builds, Urls},
        plan::{Attempt, Attempts},
        submission::{self, Accepted, MadeSecret, Submission},
        waiting::{Pause, Waiting, WaitsOn},
    },
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

/// Submit a brief
///
/// Keeps the brief and answers at once; what comes of it is found under the returned addresses.
/// With an
/// `Idempotency-Key`, the same request posted again answers with the same build.
#[utoipa::path(
    post, path = "/v1/builds", operation_id = "submit_build", tag = "builds",
    params((
        "Idempotency-Key" = Option<String>, Header,
        pattern = "^[!-~]{1,255}$",
        description = "1 to 255 visible ASCII characters, remembered as long as the build",
    )),
    request_body = submission::NewBuild,
    responses(
        (status = 202, description = "Accepted", body = Accepted, headers(
            ("Location" = String, description = "The address of the build"),
            ("Idempotent-Replayed" = String, description = "`true` if the build was there already"),
        )),
        (status = 400, description = "`malformed_json` with line and column, or `bad_idempotency_key`"),
        (status = 409, description = "`idempotency_key_reused`: the key came with another body before"),
        (status = 422, description = "`invalid_request`: every bad field is named in `detail.fields`"),
        (status = 429, description = "`overloaded`; `detail.bound` says of what there is too much",
            headers(("Retry-After" = u64, description = "Seconds, by the rate at which builds end"))),
    ),
)]
pub async fn submit(
    State(api): State<Api>,
    query: Query,
    headers: HeaderMap,
    body::Json(body): body::Json,
) -> Result<Response, Error> {
    query.finish()?;
    let key = idempotency_key(&headers)?;
    let asked = Submission::read(&body, &api.settings.webhook_targets)
        .map_err(|faults| Error::invalid(&faults))?;
    let wants_secret = asked.webhook.as_ref().is_some_and(|webhook| webhook.secret.is_none());
    let approval = asked.require_approval.unwrap_or(api.settings.approval_required);

    let new = NewBuild {
        id: draw::id(),
        tenant: TENANT.to_owned(),
        brief: Brief { require_approval: approval, ..asked.brief },
        idempotency: key
            .map(|key| Idempotency { key, request_hash: submission::request_hash(&body) }),
        webhook: endpoint(&api, asked.webhook),
    };
    let submitted = match api.gauge.admit(&*api.store, TENANT, new.brief.size()).await {
        Ok(()) => api.store.submit(new).await?,
        // What was accepted before is answered all the same.
        Err(overload) => match &new.idempotency {
            Some(given) => {
                let earlier = api.store.submitted_before(TENANT, given).await?;
                earlier.map(Submitted::Again).ok_or(overload)?
            }
            None => return Err(overload.into()),
        },
    };

    let build = submitted.build();
    let urls = Urls::of(build);
    let mut response = StatusCode::ACCEPTED.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(location) = HeaderValue::from_str(&urls.this) {
        headers.insert(header::LOCATION, location);
    }
    if matches!(submitted, Submitted::Again(_)) {
        headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    let accepted = Accepted {
        id: build.id.to_string(),
        state: build.state.into(),
        created_at: build.created_at.into(),
        webhook: if wants_secret { made_secret(&api, build)? } else { None },
        urls,
    };
    let (parts, _) = response.into_parts();
    Ok((parts, Json(accepted)).into_response())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    // Of two keys, nobody could say which one shall count.
    let alone = keys.next().is_none();
    key.to_str()
        .ok()
        .filter(|_| alone)
        .filter(|key| (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()))
        .filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()))
        .map(|key| Some(key.to_owned()))
        .ok_or_else(|| {
            Error::bad_request(
                "bad_idempotency_key",
                format!(
                    "Idempotency-Key must be given once, with 1 to {IDEMPOTENCY_KEY_CHARS_MAX} \
                     visible ASCII characters"
                ),
            )
        })
}

/// The endpoint of a new build: the one that was asked for, else the operator's.
fn endpoint(api: &Api, asked: Option<submission::Webhook>) -> Option<NewEndpoint> {
    let settings = &api.settings;
    let (url, secret, events) = match asked {
        Some(webhook) => (webhook.url, webhook.secret, webhook.events),
        None => (settings.default_webhook_url.clone()?, None, Vec::new()),
    };
    let secret = secret
        .or_else(|| settings.default_webhook_secret.clone())
        .unwrap_or_else(submission::draw_secret);
    let secret = settings.vault.seal(&secret, TENANT);
    Some(NewEndpoint { id: draw::id::<EndpointId>(), url: url.to_string(), secret, events })
}

/// The secret that was made for a build, unless it is the operator's, which no client may see.
fn made_secret(api: &Api, build: &store::Build) -> Result<Option<MadeSecret>, Error> {
    let Some(webhook) = &build.webhook else { return Ok(None) };
    let secret = api.settings.vault.open(&webhook.secret, &build.tenant)?;
    if api.settings.default_webhook_secret.as_ref().is_some_and(|ours| are_same(ours, &secret)) {
        return Ok(None);
    }
    Ok(Some(MadeSecret { url: webhook.url.clone(), secret: secret.expose_secret().to_owned() }))
}

/// Compares two secrets in a time that tells nothing of them.
pub fn are_same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret().as_bytes().ct_eq(other.expose_secret().as_bytes()).into()
}

/// List builds
///
/// Newest first.
#[utoipa::path(
    get, path = "/v1/builds", operation_id = "list_builds", tag = "builds",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "10 if absent"),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{40}$", description = "The `next_cursor` of the page before"),
        ("state" = Option<crate::wire::BuildState>, Query),
        ("project_id" = Option<String>, Query),
    ),
    responses(
        (status = 200, description = "A page", body = Builds),
        (status = 400, description = "`bad_query`: every bad parameter is named in `detail.fields`"),
    ),
)]
pub async fn list(State(api): State<Api>, mut query: Query) -> Result<Json<Builds>, Error> {
    let words = build::State::ALL.iter().map(|state| state.as_str());
    let wanted = BuildsWanted {
        tenant: TENANT.to_owned(),
        state: query.parsed("state", one_of(words)),
        project_id: query.text("project_id"),
        limit: query.limit(),
        after: query.cursor(),
    };
    query.finish()?;

    let page = api.store.builds(&wanted).await?;
    let next_cursor = page.rows.last().filter(|_| page.next).map(|build| query::cursor(build.id));
    Ok(Json(Builds { builds: shown(&api, page.rows).await?, next_cursor }))
}

/// Look at a build
#[utoipa::path(
    get, path = "/v1/builds/{id}", operation_id = "get_build", tag = "builds",
    params(("id" = String, Path, description = "`bld_...`")),
    responses((status = 200, description = "The build", body = Build)),
)]
pub async fn show(
    State(api): State<Api>,
    Id(id): Id<BuildId>,
    query: Query,
) -> Result<Json<Build>, Error> {
    query.finish()?;
    let build = api.store.build(id).await?;
    let notes = match build.plan {
        Some(plan) => Some(api.store.plan(plan).await?.notes),
        None => None,
    };
    let remaining = api.store.remaining(id).await?;
    let mut build = Build { notes, ..one(&api, build).await? };
    if let Some(remaining) = remaining {
        let now = jiff::Timestamp::now();
        build.estimate = build.estimate.map(|estimate| estimate.measured(remaining, now));
    }
    Ok(Json(build))
}

/// Cancel a build
///
/// Every task that is not final is cancelled; what was written is kept. A build that was cancelled
/// already is answered as it is.
#[utoipa::path(
    post, path = "/v1/builds/{id}/cancel", operation_id = "cancel_build", tag = "builds",
    params(("id" = String, Path, description = "`bld_...`")),
    responses(
        (status = 200, description = "The build", body = Build),
        (status = 409, description = "`build_is_final`: it has completed or failed"),
    ),
)]
pub async fn cancel(
    State(api): State<Api>,
    Id(id): Id<BuildId>,
    query: Query,
) -> Result<Json<Build>, Error> {
    query.finish()?;
    let build = api.store.cancel_build(id).await?;
    Ok(Json(one(&api, build).await?))
}

/// Retry a build
///
/// Runs again only what failed, was skipped or cancelled. A build without an adopted plan is
/// planned anew.
#[utoipa::path(
    post, path = "/v1/builds/{id}/retry", operation_id = "retry_build", tag = "builds",
    params(("id" = String, Path, description = "`bld_...`")),
    responses(
        (status = 202, description = "The build, which goes on", body = Build),
        (status = 409, description = "`build_not_retryable`: it has neither failed nor been cancelled"),
    ),
)]
pub async fn retry(
    State(api): State<Api>,
    Id(id): Id<BuildId>,
    query: Query,
) -> Result<(StatusCode, Json<Build>), Error> {
    query.finish()?;
    let build = api.store.retry_build(id).await?;
    Ok((StatusCode::ACCEPTED, Json(one(&api, build).await?)))
}

/// Pause a build
///
/// Nothing of it is begun; what runs goes on. Again is harmless.
#[utoipa::path(
    post, path = "/v1/builds/{id}/pause", operation_id = "pause_build", tag = "builds",
    params(
        ("id" = String, Path, description = "`bld_...`"),
        ("X-Reason" = Option<String>, Header, max_length = 200, description = "Why, for the audit"),
    ),
    responses(
        (status = 200, description = "The build", body = Build),
        (status = 400, description = "`bad_query` or `bad_reason`"),
        (status = 409, description = "`build_is_final`: it has come to its end"),
    ),
)]
pub async fn pause(
    State(api): State<Api>,
    Id(id): Id<BuildId>,
    By(by): By,
    query: Query,
) -> Result<Json<Build>, Error> {
    query.finish()?;
    api.store.pause(&Gate::Build(id), &by).await?;
    Ok(Json(one(&api, api.store.build(id).await?).await?))
}

/// Resume a build
///
/// Its work can be begun at once. Again is harmless.
#[utoipa::path(
    post, path = "/v1/builds/{id}/resume", operation_id = "resume_build", tag = "builds",
    params(
        ("id" = String, Path, description = "`bld_...`"),
        ("X-Reason" = Option<String>, Header, max_length = 200, description = "Why, for the audit"),
    ),
    responses(
        (status = 200, description = "The build", body = Build),
        (status = 400, description = "`bad_query` or `bad_reason`"),
    ),
)]
pub async fn resume(
    State(api): State<Api>,
    Id(id): Id<BuildId>,
    By(by): By,
    query: Query,
) -> Result<Json<Build>, Error> {
    query.finish()?;
    let build = api.store.build(id).await?;
    api.store.resume(&Gate::Build(id), &by).await?;
    Ok(Json(one(&api, build).await?))
}

/// List the attempts at planning a build
///
/// Oldest first. Those at its tasks are found at the tasks.
#[utoipa::path(
    get, path = "/v1/builds/{id}/attempts", operation_id = "list_planning_attempts", tag = "builds",
    params(("id" = String, Path, description = "`bld_...`")),
    responses((status = 200, description = "All attempts", body = Attempts)),
)]
pub async fn attempts(
    State(api): State<Api>,
    Id(id): Id<BuildId>,
    query: Query,
) -> Result<Json<Attempts>, Error> {
    query.finish()?;
    let attempts = api.store.planning_attempts(id).await?;
    Ok(Json(Attempts { attempts: attempts.into_iter().map(Attempt::from).collect() }))
}

/// A build with what keeps it waiting.
pub(super) async fn one(api: &Api, build: store::Build) -> Result<Build, Error> {
    let mut builds = shown(api, vec![build]).await?;
    builds.pop().ok_or_else(Error::internal)
}

/// Builds with what keeps them waiting, asked for together.
async fn shown(api: &Api, builds: Vec<store::Build>) -> Result<Vec<Build>, Error> {
    let open = || builds.iter().filter(|build| !build.state.is_final());
    let mut gates: Vec<_> = open().map(|build| Gate::Build(build.id)).collect();
    gates.extend(open().map(|build| Gate::Tenant(build.tenant.clone())));
    gates.sort_unstable();
    gates.dedup();
    let queued = open().filter(|build| build.state == build::State::Queued);
    let queued: Vec<_> = queued.map(|build| Job::Plan(build.id)).collect();
    let (paused, mut waits) = if gates.is_empty() {
        Default::default()
    } else {
        (api.store.paused_at(&gates).await?, api.store.waits(&queued).await?)
    };
    let shown = builds.into_iter().map(|build| {
        let is_open = !build.state.is_final();
        let at = |gate: &Gate| paused.iter().find(|pause| is_open && pause.gate == *gate).cloned();
        let pause = at(&Gate::Build(build.id)).or_else(|| at(&Gate::Tenant(build.tenant.clone())));
        let waiting = match build.state {
            build::State::PendingApproval => Some(Waiting::on(WaitsOn::Approval)),
            _ => waits.remove(&Job::Plan(build.id)).map(Waiting::from),
        };
        Build { paused: pause.and_then(Pause::of), waiting, ..Build::from(build) }
    });
    Ok(shown.collect())
}
