//! Endpoints: who is told what happens; and sending again what they missed.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Context, scheduling::why};
use crate::{
    answer,
    args::webhooks::{EndpointChange, EndpointRate, EndpointSettings, ReplayChange, Replaying},
    exit::{Error, Exit},
    table::table,
};

/// How often a replay that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub async fn endpoints(context: &Context, change: Option<EndpointChange>) -> Result<Exit, Error> {
    let client = context.client()?;
    let at = |endpoint: &str| format!("/v1/endpoints/{endpoint}");
    match change {
        None => {
            let answer = client.get_with("/v1/endpoints", &[("limit", "100".to_owned())]).await?;
            context.print(&answer, || endpoint_table(&answer["endpoints"]));
        }
        Some(EndpointChange::Add(settings)) => {
            let answer = client.post("/v1/endpoints", &body(&settings), &[]).await?;
            context.print(&answer, || with_secret(&answer));
        }
        Some(EndpointChange::Show { endpoint }) => {
            let answer = client.get(&at(&endpoint)).await?;
            context.print(&answer, || described(&answer));
        }
        Some(EndpointChange::Change { endpoint, settings }) => {
            let answer = client.put(&at(&endpoint), &body(&settings), &[]).await?;
            context.print(&answer, || described(&answer));
        }
        Some(EndpointChange::Remove { endpoint }) => {
            client.delete(&at(&endpoint), &[]).await?;
            let words = || format!("{endpoint} is told nothing any more");
            context.print(&json!({ "removed": endpoint }), words);
        }
        Some(EndpointChange::Rotate { endpoint, secret, grace_secs }) => {
            let body = given([
                ("secret", secret.map(Value::from)),
                ("grace_secs", grace_secs.map(Value::from)),
            ]);
            let answer = client.post(&format!("{}/rotate", at(&endpoint)), &body, &[]).await?;
            context.print(&answer, || with_secret(&answer));
        }
        Some(EndpointChange::Test { endpoint }) => {
            let answer = client.post(&format!("{}/test", at(&endpoint)), &json!({}), &[]).await?;
            context.print(&answer, || {
                format!("{} is on its way", answer["id"].as_str().unwrap_or_default())
            });
        }
        Some(EndpointChange::Enable { endpoint }) => {
            let answer = client.post(&format!("{}/enable", at(&endpoint)), &json!({}), &[]).await?;
            context.print(&answer, || format!("{endpoint} is told again"));
        }
        Some(EndpointChange::Disable { endpoint, reason }) => {
            let body = given([("reason", reason.map(Value::from))]);
            let answer = client.post(&format!("{}/disable", at(&endpoint)), &body, &[]).await?;
            context.print(&answer, || format!("{endpoint} is told nothing until it is enabled"));
        }
        Some(EndpointChange::Recover { endpoint, since, until, how }) => {
            let body = given([
                ("since", Some(Value::from(since))),
                ("until", until.map(Value::from)),
                ("dry_run", Some(Value::from(how.dry_run))),
            ]);
            return begin(context, &format!("{}/recover", at(&endpoint)), &body, &how).await;
        }
    }
    Ok(Exit::Done)
}

/// An object of what is given.
fn given<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(members.collect::<Map<_, _>>())
}

fn body(settings: &EndpointSettings) -> Value {
    let headers: Map<String, Value> = settings
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    let retry = settings.retry.as_ref().map(|retry| {
        let secs: Result<Vec<f64>, _> = retry.split(',').map(|secs| secs.trim().parse()).collect();
        secs.map_or_else(|_| Value::from(retry.as_str()), Value::from)
    });
    let rate = settings.rate.map(|rate| match rate {
        EndpointRate::Unlimited => Value::from("unlimited"),
        EndpointRate::Of(count, per_secs) => json!({ "count": count, "per_secs": per_secs }),
    });
    given([
        ("url", Some(Value::from(settings.url.as_str()))),
        ("secret", settings.secret.as_deref().map(Value::from)),
        ("events", (!settings.events.is_empty()).then(|| Value::from(settings.events.clone()))),
        ("headers", (!headers.is_empty()).then_some(Value::Object(headers))),
        ("rate", rate),
        ("concurrency", settings.concurrency.map(Value::from)),
        ("retry", retry),
        ("ordered", Some(Value::from(!settings.unordered))),
        ("description", Some(Value::from(settings.description.as_str()))),
    ])
}

fn endpoint_table(endpoints: &Value) -> String {
    let rows: Vec<_> = endpoints.as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return "no endpoints; add one with buildfleet endpoints add URL".to_owned();
    }
    table(&["ENDPOINT", "STATE", "URL", "EVENTS", "FAILING SINCE", "DESCRIPTION"], &rows)
}

fn row(endpoint: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = endpoint["events"].as_array().into_iter().flatten();
    let events: Vec<_> = events.filter_map(Value::as_str).collect();
    vec![
        text(&endpoint["id"]),
        text(&endpoint["state"]),
        text(&endpoint["url"]),
        if events.is_empty() { "all".to_owned() } else { events.join(" ") },
        text(&endpoint["health"]["failing_since"]),
        text(&endpoint["description"]),
    ]
}

fn described(endpoint: &Value) -> String {
    let mut words = endpoint_table(&json!([endpoint]));
    for (name, value) in [
        ("reason", &endpoint["reason"]),
        ("headers", &endpoint["headers"]),
        ("rate", &endpoint["rate"]),
        ("concurrency", &endpoint["concurrency"]),
        ("retry", &endpoint["retry"]),
        ("ordered", &endpoint["ordered"]),
        ("secrets", &endpoint["secrets"]),
        ("health", &endpoint["health"]),
    ] {
        if !value.is_null() {
            words.push_str(&format!("\n{name}: {value}"));
        }
    }
    words
}

fn with_secret(endpoint: &Value) -> String {
    let secret = endpoint["secret"].as_str().unwrap_or_default();
    format!(
        "{}\n\nIts secret, which is not shown again:\n{secret}",
        endpoint_table(&json!([endpoint]))
    )
}

pub async fn replays(context: &Context, change: Option<ReplayChange>) -> Result<Exit, Error> {
    let client = context.client()?;
    let (replay, verb) = match change {
        None => {
            let answer = client.get("/v1/replays").await?;
            context.print(&answer, || replay_table(&answer["replays"]));
            return Ok(Exit::Done);
        }
        Some(ReplayChange::Begin { endpoint, build, kind, state, code, since, until, how }) => {
            let filter = given([
                ("endpoint_id", endpoint.map(Value::from)),
                ("build_id", build.map(Value::from)),
                ("type", kind.map(Value::from)),
                ("states", state.map(|state| json!([state]))),
                ("code", code.map(Value::from)),
                ("created_since", since.map(Value::from)),
                ("created_until", until.map(Value::from)),
            ]);
            let body = json!({ "filter": filter, "dry_run": how.dry_run });
            return begin(context, "/v1/replays", &body, &how).await;
        }
        Some(ReplayChange::Show { replay }) => {
            let answer = client.get(&format!("/v1/replays/{replay}")).await?;
            context.print(&answer, || replay_table(&json!([answer])));
            return Ok(Exit::Done);
        }
        Some(ReplayChange::Pause { replay }) => (replay, "pause"),
        Some(ReplayChange::Resume { replay }) => (replay, "resume"),
        Some(ReplayChange::Cancel { replay }) => (replay, "cancel"),
    };
    let answer = client.post(&format!("/v1/replays/{replay}/{verb}"), &json!({}), &[]).await?;
    context.print(&answer, || replay_table(&json!([answer])));
    Ok(Exit::Done)
}

async fn begin(
    context: &Context,
    path: &str,
    body: &Value,
    how: &Replaying,
) -> Result<Exit, Error> {
    let client = context.client()?;
    let answer = client.post(path, body, &why(how.reason.as_deref())).await?;
    let id = answer["replay"]["id"].as_str();
    context.print(&answer, || match id {
        Some(id) => format!("{id} sends {} deliveries again", answer["matched"]),
        None => format!("{} deliveries would be sent again", answer["matched"]),
    });
    let Some(id) = id.filter(|_| how.watch) else { return Ok(Exit::Done) };
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let replay = client.get(&format!("/v1/replays/{id}")).await?;
        answer::line(format_args!("{} of {}", replay["done"], replay["total"]));
        if !replay["finished_at"].is_null() {
            return Ok(Exit::Done);
        }
    }
}

fn replay_table(replays: &Value) -> String {
    let row = |replay: &Value| {
        let text = |name: &str| replay[name].as_str().unwrap_or_default().to_owned();
        let far = format!("{} of {}", replay["done"], replay["total"]);
        vec![text("id"), text("state"), far, text("created_at"), text("by")]
    };
    let rows: Vec<_> = replays.as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return "nothing was sent again".to_owned();
    }
    table(&["REPLAY", "STATE", "SENT", "SINCE", "BY"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_asked_for_as_it_was_typed() {
        let settings = EndpointSettings {
            url: "https://example.com/hooks".to_owned(),
            secret: None,
            events: vec!["task_*".to_owned()],
            headers: vec![("x-team".to_owned(), "blue".to_owned())],
            rate: Some(EndpointRate::Unlimited),
            concurrency: None,
            retry: Some("1, 5,60".to_owned()),
            unordered: true,
            description: String::new(),
        };

        assert_eq!(
            body(&settings),
            json!({
                "url": "https://example.com/hooks", "events": ["task_*"],
                "headers": {"x-team": "blue"}, "rate": "unlimited", "retry": [1.0, 5.0, 60.0],
                "ordered": false, "description": "",
            })
        );
        let words = EndpointSettings { retry: Some("standard".to_owned()), ..settings };
        assert_eq!(body(&words)["retry"], "standard");
    }
}
