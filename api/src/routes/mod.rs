//! One file for each resource; here they are put together.

pub mod builds;
pub mod plans;
pub mod tasks;
pub mod changes;
pub mod events;
pub mod files;
pub mod deliveries;
pub mod endpoints;
pub mod replays;
pub mod workers;
pub mod queues;
pub mod limits;
pub mod tenants;
pub mod paused;
pub mod audit;
pub mod failed;
pub mod bulk;
pub mod health;

use axum::{
    Router,
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post, put},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{Api, auth, frame, openapi};

/// The whole API, ready to be served or called in process.
pub fn router(api: Api) -> Router {
    let docs = SwaggerUi::new("/docs")
        .url("/openapi.json", openapi::document(&api.settings.version))
        .config(Config::new(["/openapi.json"]).validator_url("none"));
    let cors = cors(&api.settings.cors_origins);
    let routes = Router::new()
        .route("/v1/builds", post(builds::submit).get(builds::list))
        .route("/v1/builds/bulk", post(bulk::builds))
        .route("/v1/builds/{id}", get(builds::show))
        .route("/v1/builds/{id}/cancel", post(builds::cancel))
        .route("/v1/builds/{id}/retry", post(builds::retry))
        .route("/v1/builds/{id}/pause", post(builds::pause))
        .route("/v1/builds/{id}/resume", post(builds::resume))
        .route("/v1/builds/{id}/attempts", get(builds::attempts))
        .route("/v1/builds/{id}/plan", get(plans::of_build))
        .route("/v1/builds/{id}/tasks", get(tasks::of_build).post(changes::add))
        .route("/v1/builds/{id}/events", get(events::of_build))
        .route("/v1/builds/{id}/files", get(files::list))
        .route("/v1/builds/{id}/files/{*path}", get(files::show))
        .route("/v1/builds/{id}/archive", get(files::archive))
        .route("/v1/plans/{id}/approve", post(plans::approve))
        .route("/v1/plans/{id}/reject", post(plans::reject))
        .route("/v1/tasks/{id}", get(tasks::show))
        .route("/v1/tasks/{id}/cancel", post(changes::cancel))
        .route("/v1/tasks/{id}/skip", post(changes::skip))
        .route("/v1/tasks/{id}/retry", post(changes::retry))
        .route("/v1/tasks/{id}/fork", post(changes::fork))
        .route("/v1/deliveries", get(deliveries::list))
        .route("/v1/deliveries/bulk", post(bulk::deliveries))
        .route("/v1/deliveries/{id}", get(deliveries::show))
        .route("/v1/deliveries/{id}/redeliver", post(deliveries::redeliver))
        .route("/v1/endpoints", get(endpoints::list).post(endpoints::add))
        .route(
            "/v1/endpoints/{id}",
            get(endpoints::show).put(endpoints::change).delete(endpoints::remove),
        )
        .route("/v1/endpoints/{id}/rotate", post(endpoints::rotate))
        .route("/v1/endpoints/{id}/enable", post(endpoints::enable))
        .route("/v1/endpoints/{id}/disable", post(endpoints::disable))
        .route("/v1/endpoints/{id}/test", post(endpoints::test))
        .route("/v1/endpoints/{id}/recover", post(replays::recover))
        .route("/v1/replays", get(replays::list).post(replays::begin))
        .route("/v1/replays/{id}", get(replays::show))
        .route("/v1/replays/{id}/pause", post(replays::pause))
        .route("/v1/replays/{id}/resume", post(replays::resume))
        .route("/v1/replays/{id}/cancel", post(replays::cancel))
        .route("/v1/workers", get(workers::list))
        .route("/v1/queues", get(queues::list))
        .route("/v1/queues/{queue}/pause", post(queues::pause))
        .route("/v1/queues/{queue}/resume", post(queues::resume))
        .route("/v1/limits", get(limits::list))
        .route("/v1/limits/{name}", put(limits::put).delete(limits::remove))
        .route("/v1/weights", get(tenants::weights))
        .route("/v1/weights/{name}", put(tenants::put_weight))
        .route("/v1/tenants/{name}/pause", post(tenants::pause))
        .route("/v1/tenants/{name}/resume", post(tenants::resume))
        .route("/v1/paused", get(paused::list))
        .route("/v1/audit", get(audit::list))
        .route("/v1/failed", get(failed::list))
        .route("/health", get(health::health))
        .route("/livez", get(health::alive))
        .route("/readyz", get(health::ready))
        .with_state(api.clone())
        .merge(docs)
        // An empty answer to an unknown path is given its words by `frame`.
        .fallback(async || axum::http::StatusCode::NOT_FOUND)
        // Within `auth`: nobody takes room who has no key.
        .layer(from_fn_with_state(api.clone(), frame::with_room))
        .layer(from_fn_with_state(api, auth::require))
        .layer(from_fn(frame::in_time))
        .layer(CatchPanicLayer::custom(frame::panicked));
    match cors {
        Some(cors) => routes.layer(cors).layer(from_fn(frame::around)),
        None => routes.layer(from_fn(frame::around)),
    }
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let own = |name| HeaderName::from_static(name);
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::IF_NONE_MATCH,
                own("idempotency-key"),
                own("last-event-id"),
                own("x-api-key"),
                auth::REASON,
                own("x-request-id"),
            ])
            .expose_headers([
                header::ETAG,
                header::LOCATION,
                header::RETRY_AFTER,
                header::CONTENT_DISPOSITION,
                own("idempotent-replayed"),
                own("x-request-id"),
            ]),
    )
}
