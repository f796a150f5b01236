//! What may run and what may not: limits, weights, pauses; who changed them, and what was given up.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Context;
use crate::{
    args::operating::{Audit, Failed, LimitChange, LimitSet, Pausable, Pausing, WeightChange},
    exit::{Error, Exit},
    table::table,
};

/// The header that says why, if there is a reason.
pub fn why(reason: Option<&str>) -> Vec<(&'static str, &str)> {
    reason.map(|reason| ("x-reason", reason)).into_iter().collect()
}

pub async fn limits(context: &Context, change: Option<LimitChange>) -> Result<Exit, Error> {
    let client = context.client()?;
    match change {
        None => {
            let answer = client.get("/v1/limits").await?;
            context.print(&answer, || limit_table(&answer));
        }
        Some(LimitChange::Set(set)) => {
            let path = format!("/v1/limits/{}", set.name);
            let answer = client.put(&path, &limit_body(&set), &why(set.reason.as_deref())).await?;
            let answer = json!({ "limits": [answer] });
            context.print(&answer["limits"][0], || limit_table(&answer));
        }
        Some(LimitChange::Remove { name, reason }) => {
            client.delete(&format!("/v1/limits/{name}"), &why(reason.as_deref())).await?;
            context.print(&json!({ "removed": name }), || format!("{name} is no limit any more"));
        }
    }
    Ok(Exit::Done)
}

fn limit_body(set: &LimitSet) -> Value {
    json!({
        "queue": set.queue,
        "by": set.by,
        "value": set.value,
        "concurrency": set.concurrency,
        "rate": set.rate.map(|(count, per_secs)| json!({ "count": count, "per_secs": per_secs })),
    })
}

fn limit_table(answer: &Value) -> String {
    let rows: Vec<_> = answer["limits"].as_array().into_iter().flatten().map(limit_row).collect();
    if rows.is_empty() {
        return "no limits; each worker takes what it has slots for".to_owned();
    }
    table(&["LIMIT", "QUEUE", "COUNTS", "AT ONCE", "BEGINS"], &rows)
}

fn limit_row(limit: &Value) -> Vec<String> {
    let text = |name: &str| limit[name].as_str();
    let counts = match (text("by").unwrap_or_default(), text("value")) {
        ("all", _) => "all together".to_owned(),
        (by, Some(value)) => format!("{by} {value}"),
        (by, None) => format!("each {by}"),
    };
    let rate = &limit["rate"];
    vec![
        text("name").unwrap_or_default().to_owned(),
        text("queue").unwrap_or("all").to_owned(),
        counts,
        limit["concurrency"].as_u64().map_or_else(String::new, |most| most.to_string()),
        match (rate["count"].as_u64(), rate["per_secs"].as_f64()) {
            (Some(count), Some(secs)) => format!("{count} in {secs} s"),
            _ => String::new(),
        },
    ]
}

pub async fn weights(context: &Context, change: Option<WeightChange>) -> Result<Exit, Error> {
    let client = context.client()?;
    match change {
        None => {
            let answer = client.get("/v1/weights").await?;
            context.print(&answer, || weight_table(&answer));
        }
        Some(WeightChange::Set { tenant, weight, reason }) => {
            let path = format!("/v1/weights/{}", segment(&tenant));
            let body = json!({ "weight": weight });
            let answer = client.put(&path, &body, &why(reason.as_deref())).await?;
            context.print(&answer, || format!("{tenant} has a weight of {weight}"));
        }
    }
    Ok(Exit::Done)
}

fn weight_table(answer: &Value) -> String {
    let row = |weight: &Value| {
        let tenant = weight["tenant"].as_str().unwrap_or_default().to_owned();
        vec![tenant, weight["weight"].to_string()]
    };
    let rows: Vec<_> = answer["weights"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return "every tenant has a weight of 1".to_owned();
    }
    table(&["TENANT", "WEIGHT"], &rows)
}

pub async fn pause(context: &Context, pausing: Pausing) -> Result<Exit, Error> {
    let (path, name) = address(&pausing.what);
    let headers = why(pausing.reason.as_deref());
    let answer = context.client()?.post(&format!("{path}/pause"), &json!({}), &headers).await?;
    context.print(&answer, || format!("{name} is paused; what runs goes on"));
    Ok(Exit::Done)
}

pub async fn resume(context: &Context, pausing: Pausing) -> Result<Exit, Error> {
    let (path, name) = address(&pausing.what);
    let headers = why(pausing.reason.as_deref());
    let answer = context.client()?.post(&format!("{path}/resume"), &json!({}), &headers).await?;
    context.print(&answer, || format!("{name} goes on"));
    Ok(Exit::Done)
}

/// Where it is, and what it is called.
fn address(what: &Pausable) -> (String, String) {
    match (&what.build, &what.tenant, &what.queue) {
        (Some(build), ..) => (format!("/v1/builds/{build}"), build.clone()),
        (None, Some(tenant), _) => {
            (format!("/v1/tenants/{}", segment(tenant)), format!("the tenant {tenant}"))
        }
        (None, None, queue) => {
            let queue = queue.as_deref().unwrap_or_default();
            (format!("/v1/queues/{queue}"), format!("the queue {queue}"))
        }
    }
}

/// A text as one part of a path, whatever it has in it.
fn segment(text: &str) -> String {
    // A name of dots alone is taken for a way up, however it is written; no tenant is called so.
    let mut segment = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            segment.push(char::from(byte));
        } else {
            let _written = write!(segment, "%{byte:02X}");
        }
    }
    segment
}

pub async fn paused(context: &Context) -> Result<Exit, Error> {
    let answer = context.client()?.get("/v1/paused").await?;
    context.print(&answer, || {
        let row = |pause: &Value| {
            ["what", "name", "since", "by"]
                .map(|name| pause[name].as_str().unwrap_or_default().to_owned())
                .to_vec()
        };
        let rows: Vec<_> = answer["paused"].as_array().into_iter().flatten().map(row).collect();
        if rows.is_empty() {
            return "nothing is paused".to_owned();
        }
        table(&["WHAT", "NAME", "SINCE", "BY"], &rows)
    });
    Ok(Exit::Done)
}

pub async fn audit(context: &Context, audit: Audit) -> Result<Exit, Error> {
    let mut query = vec![("limit", audit.limit.to_string())];
    query.extend(audit.cursor.map(|cursor| ("cursor", cursor)));
    let answer = context.client()?.get_with("/v1/audit", &query).await?;
    context.print(&answer, || {
        let row = |entry: &Value| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            let detail = match &entry["detail"] {
                Value::Null => String::new(),
                detail => detail.to_string(),
            };
            vec![text("at"), text("action"), text("subject"), text("by"), detail]
        };
        let rows: Vec<_> = answer["entries"].as_array().into_iter().flatten().map(row).collect();
        if rows.is_empty() {
            return "nothing was changed by hand".to_owned();
        }
        table(&["AT", "ACTION", "WHAT", "BY", "AFTERWARDS"], &rows) + &more(&answer)
    });
    Ok(Exit::Done)
}

pub async fn failed(context: &Context, failed: Failed) -> Result<Exit, Error> {
    let mut query = vec![("limit", failed.limit.to_string())];
    for (name, value) in [
        ("kind", failed.kind),
        ("code", failed.code),
        ("tenant", failed.tenant),
        ("since", failed.since),
        ("until", failed.until),
        ("cursor", failed.cursor),
    ] {
        query.extend(value.map(|value| (name, value)));
    }
    let answer = context.client()?.get_with("/v1/failed", &query).await?;
    context.print(&answer, || {
        let rows: Vec<_> =
            answer["failed"].as_array().into_iter().flatten().map(failed_row).collect();
        if rows.is_empty() {
            return "nothing was given up".to_owned();
        }
        let headings = ["WHAT", "GIVEN UP", "TRIES", "LOST", "CODE", "NAME AND REASON"];
        table(&headings, &rows) + &more(&answer)
    });
    Ok(Exit::Done)
}

fn failed_row(failed: &Value) -> Vec<String> {
    let text = |name: &str| failed[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| failed[name].as_u64().unwrap_or(0).to_string();
    vec![
        text("id"),
        text("failed_at"),
        number("attempts"),
        number("crashes"),
        text("code"),
        format!("{}: {}", text("name"), text("reason")),
    ]
}

fn more(answer: &Value) -> String {
    match answer["next_cursor"].as_str() {
        Some(cursor) => format!("\nmore with --cursor {cursor}"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_tenant_stays_one_part_of_the_path() {
        assert_eq!(segment("acme inc/../x?y#z"), "acme%20inc%2F%2E%2E%2Fx%3Fy%23z");
        assert_eq!(segment("größe"), "gr%C3%B6%C3%9Fe");
    }

    #[test]
    fn a_limit_is_shown_with_what_it_counts() {
        let limit = json!({
            "name": "each", "queue": null, "by": "tenant", "value": null, "concurrency": null,
            "rate": { "count": 20, "per_secs": 1.0 },
        });

        assert_eq!(limit_row(&limit), ["each", "all", "each tenant", "", "20 in 1 s"]);
    }
}
