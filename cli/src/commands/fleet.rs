//! The fleet itself: its workers and its queues.

use serde_json::Value;

use super::{Context, builds::age};
use crate::{
    exit::{Error, Exit},
    table::table,
};

pub async fn workers(context: &Context) -> Result<Exit, Error> {
    let answer = context.client()?.get("/v1/workers").await?;
    context.print(&answer, || {
        let rows: Vec<_> = answer["workers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|worker| {
                let text = |name: &str| worker[name].as_str().unwrap_or_default().to_owned();
                vec![
                    text("id"),
                    text("program"),
                    text("host"),
                    text("queue"),
                    text("state"),
                    format!("{}/{}", number(&worker["busy"]), number(&worker["slots"])),
                    age(&worker["silent_ms"]),
                    text("version"),
                ]
            })
            .collect();
        if rows.is_empty() {
            return "no workers; nothing will be built until some are started".to_owned();
        }
        table(&["WORKER", "PROGRAM", "HOST", "QUEUE", "STATE", "BUSY", "SILENT", "VERSION"], &rows)
    });
    Ok(Exit::Done)
}

pub async fn queues(context: &Context) -> Result<Exit, Error> {
    let answer = context.client()?.get("/v1/queues").await?;
    context.print(&answer, || {
        let rows: Vec<_> = answer["queues"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|queue| {
                vec![
                    queue["name"].as_str().unwrap_or_default().to_owned(),
                    number(&queue["depth"]).to_string(),
                    number(&queue["delayed"]).to_string(),
                    number(&queue["running"]).to_string(),
                    age(&queue["oldest_age_ms"]),
                    format!("{:.2}/s", queue["rate_per_sec"].as_f64().unwrap_or(0.0)),
                    standing(queue),
                ]
            })
            .collect();
        table(&["QUEUE", "WAITING", "DELAYED", "RUNNING", "OLDEST", "RATE", "HELD UP"], &rows)
    });
    Ok(Exit::Done)
}

/// What keeps its work from being begun: a pause, and what is parked where.
fn standing(queue: &Value) -> String {
    let mut words = Vec::new();
    if let Some(by) = queue["paused"]["by"].as_str() {
        words.push(format!("paused by {by}"));
    }
    for parked in queue["parked"].as_array().into_iter().flatten() {
        let limit = &parked["limit"];
        let at = match (limit["name"].as_str(), limit["value"].as_str()) {
            (Some(name), None | Some("")) => format!("limit {name}"),
            (Some(name), Some(value)) => format!("limit {name} of {value}"),
            (None, _) => format!("pause of {}", parked["pause"].as_str().unwrap_or_default()),
        };
        words.push(format!("{} at {at}", number(&parked["count"])));
    }
    words.join(", ")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
