//! The API as a document: OpenAPI 3.1, gathered from the routes.
//!
//! What is true of every call is added here: the ways to show a key, and the errors that any call
//! can meet, all of one form.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, RefOr, ResponseBuilder,
        path::{Operation, PathItem},
        schema::{Schema, SchemaType, Type},
        security::{
            ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
        },
    },
};

use crate::{routes, wire};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "buildfleet",
        description = "Post a prompt, get a verified software project.\n\n\
            Every error has the form of `ErrorBody`; its `code` is stable. Times are RFC 3339 with \
            milliseconds, in UTC; only events count milliseconds since 1970, as webhooks do.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        routes::builds::submit, routes::builds::list, routes::builds::show, routes::builds::cancel,
        routes::builds::retry, routes::plans::of_build, routes::tasks::of_build,
        routes::events::of_build, routes::files::list, routes::files::show, routes::files::archive,
        routes::plans::approve, routes::plans::reject, routes::tasks::show,
        routes::changes::add, routes::changes::cancel, routes::changes::skip,
        routes::changes::retry, routes::changes::fork,
        routes::deliveries::list, routes::deliveries::show, routes::deliveries::redeliver,
        routes::endpoints::list, routes::endpoints::add, routes::endpoints::show,
        routes::endpoints::change, routes::endpoints::remove, routes::endpoints::rotate,
        routes::endpoints::enable, routes::endpoints::disable, routes::endpoints::test,
        routes::replays::recover, routes::replays::begin, routes::replays::list,
        routes::replays::show, routes::replays::pause, routes::replays::resume,
        routes::replays::cancel,
        routes::builds::pause, routes::builds::resume, routes::builds::attempts,
        routes::bulk::builds, routes::bulk::deliveries,
        routes::workers::list, routes::queues::list, routes::queues::pause, routes::queues::resume,
        routes::limits::list, routes::limits::put, routes::limits::remove,
        routes::tenants::weights, routes::tenants::put_weight, routes::tenants::pause,
        routes::tenants::resume, routes::paused::list, routes::audit::list, routes::failed::list,
        routes::health::health, routes::health::alive, routes::health::ready,
    ),
    components(schemas(wire::ErrorBody)),
    tags(
        (name = "builds", description = "A brief on its way to an end"),
        (name = "plans", description = "A checked graph of tasks"),
        (name = "tasks", description = "The nodes of a plan"),
        (name = "events", description = "What happened, in order"),
        (name = "files", description = "What was written"),
        (name = "deliveries", description = "Events on their way to webhooks"),
        (name = "fleet", description = "Who works, and how much waits"),
        (name = "scheduling", description = "What may run, whose turn it is, what is paused"),
        (name = "health", description = "Without a key"),
    ),
    modifiers(&Keys, &Errors),
)]
struct Document;

/// The document of this version.
pub fn document(version: &str) -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.info.version = version.to_owned();
    document
}

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let header = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(header));
        let none: [&str; 0] = [];
        document.security = Some(vec![
            SecurityRequirement::new("bearer", none),
            SecurityRequirement::new("api_key", none),
        ]);
    }
}

struct Errors;

impl Modify for Errors {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut document.paths.paths {
            let guarded = path.starts_with("/v1/");
            let named = path.contains('{');
            for operation in operations(item) {
                if operation.request_body.is_some() {
                    add(operation, "400", "`malformed_json` with line and column");
                    add(operation, "408", "`body_too_slow`");
                    add(operation, "413", "`too_large`: more than 1 MiB");
                    add(operation, "415", "`unsupported_media_type`: not `application/json`");
                }
                if guarded {
                    add(
                        operation,
                        "400",
                        "`bad_query`: a parameter that is not there, or not as it should be",
                    );
                    add(operation, "401", "`unauthorized`: no key, or none that is known");
                    add(
                        operation,
                        "503",
                        "`store_unavailable`, `timed_out`: try again after `Retry-After` seconds",
                    );
                }
                if named {
                    add(operation, "404", "`not_found`");
                }
                add(operation, "500", "`internal`");
                for parameter in operation.parameters.iter_mut().flatten() {
                    if let RefOr::T(parameter) = parameter
                        && let Some(schema) = parameter.schema.as_mut()
                    {
                        never_null(schema);
                    }
                }
                give_form(operation);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.delete]
        .into_iter()
        .filter_map(Option::as_mut)
}

fn add(operation: &mut Operation, status: &str, description: &str) {
    operation
        .responses
        .responses
        .entry(status.to_owned())
        .or_insert_with(|| RefOr::T(ResponseBuilder::new().description(description).build()));
}

/// A parameter is there or not; an address and a header know no null.
fn never_null(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            if let SchemaType::Array(types) = &object.schema_type
                && let Some(kind) = types.iter().find(|kind| **kind != Type::Null)
            {
                object.schema_type = SchemaType::Type(kind.clone());
            }
        }
        RefOr::T(Schema::OneOf(one_of)) => {
            if let Some(named) = one_of.items.iter().find(|item| matches!(item, RefOr::Ref(_))) {
                *schema = named.clone();
            }
        }
        _ => {}
    }
}

/// Every error answers with the same schema.
fn give_form(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && (status.starts_with('4') || status.starts_with('5'))
        {
            let schema = Ref::from_schema_name("ErrorBody");
            let content = ContentBuilder::new().schema(Some(schema)).build();
            response.content.insert("application/json".to_owned(), RefOr::T(content));
        }
    }
}
