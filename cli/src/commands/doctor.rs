//! Checks everything that is needed, and says how to mend what is wrong.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use super::Context;
use crate::{
    dev,
    exit::{Error, Exit},
    table::table,
};

struct Finding {
    what: &'static str,
    good: bool,
    /// Whether nothing works without it.
    needed: bool,
    says: String,
}

pub async fn run(context: &Context) -> Result<Exit, Error> {
    let mut findings = vec![folder(&context.data())];
    findings.extend(api(context).await);
    findings.extend(tools());
    let healthy = findings.iter().all(|finding| finding.good || !finding.needed);
    let answer = json!({
        "healthy": healthy,
        "checks": findings
            .iter()
            .map(|finding| json!({
                "name": finding.what,
                "ok": finding.good,
                "needed": finding.needed,
                "message": finding.says,
            }))
            .collect::<Vec<_>>(),
    });
    context.print(&answer, || {
        let rows: Vec<_> = findings
            .iter()
            .map(|finding| {
                let mark = match (finding.good, finding.needed) {
                    (true, _) => "ok",
                    (false, true) => "WRONG",
                    (false, false) => "missing",
                };
                vec![mark.to_owned(), finding.what.to_owned(), finding.says.clone()]
            })
            .collect();
        table(&["", "CHECK", "FINDING"], &rows)
    });
    Ok(if healthy { Exit::Done } else { Exit::NotDone })
}

/// Whether the data folder can be used.
fn folder(data: &Path) -> Finding {
    let shown = data.display();
    let (good, says) = if dev::is_running(data) {
        (true, format!("{shown} is used by a running fleet"))
    } else if !data.exists() {
        (true, format!("{shown} will be made by `buildfleet dev`"))
    } else {
        match std::fs::metadata(data) {
            Ok(found) if !found.is_dir() => {
                (false, format!("{shown} is no folder; BUILDFLEET_DATA names another one"))
            }
            Ok(found) if found.permissions().readonly() => {
                (false, format!("{shown} cannot be written; change its permissions"))
            }
            Ok(_) => (true, format!("{shown} is there, and no fleet runs on it")),
            Err(error) => (false, format!("{shown}: {error}")),
        }
    };
    Finding { what: "data folder", good, needed: true, says }
}

/// Whether the API answers, takes the key, and has what it needs.
async fn api(context: &Context) -> Vec<Finding> {
    let wrong = |what, says: String| Finding { what, good: false, needed: true, says };
    let right = |what, says: String| Finding { what, good: true, needed: true, says };
    let client = match context.client() {
        Ok(client) => client,
        Err(error) => return vec![wrong("API", error.to_string())],
    };
    let mut findings = Vec::new();
    match client.get("/health").await {
        Ok(health) => findings.push(right(
            "API",
            format!("{} runs {}", client.url(), health["version"].as_str().unwrap_or("?")),
        )),
        Err(error) => return vec![wrong("API", error.to_string().replace("\n ", ";"))],
    }
    match client.get("/readyz").await {
        Ok(_) => findings.push(right("store and queue", "both answer".to_owned())),
        Err(error) => findings.push(wrong(
            "store and queue",
            format!("{error}; see that the API's DATABASE_URL and REDIS_URL can be reached"),
        )),
    }
    match client.get("/v1/workers").await {
        Ok(workers) => findings.extend(lanes(&workers)),
        Err(error) => findings.push(wrong("API key", error.to_string().replace("\n ", ";"))),
    }
    findings
}

/// Whether somebody works on each lane.
fn lanes(workers: &Value) -> Vec<Finding> {
    [
        ("plans", "plan worker", "no build will be planned; start plan-worker"),
        ("tasks", "task worker", "no task will be run; start task-worker"),
        ("deliveries", "dispatcher", "no webhook will be sent; start webhook-dispatcher"),
    ]
    .into_iter()
    .map(|(lane, what, mend)| {
        let alive = workers["workers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|worker| worker["queue"] == lane && worker["state"] == "alive")
            .count();
        let says = if alive == 0 { mend.to_owned() } else { format!("{alive} at work") };
        Finding { what, good: 0 < alive, needed: true, says }
    })
    .collect()
}

/// What generated projects want on the machine where they are installed.
fn tools() -> Vec<Finding> {
    [
        ("python3", "--version", "Python projects need Python 3.10 or newer to be run"),
        ("node", "--version", "TypeScript projects need Node.js 20 or newer to be run"),
    ]
    .into_iter()
    .map(|(what, flag, mend)| {
        let found =
            Command::new(what).arg(flag).output().ok().filter(|found| found.status.success());
        let says = found.as_ref().map_or_else(
            || mend.to_owned(),
            |found| String::from_utf8_lossy(&found.stdout).trim().to_owned(),
        );
        Finding { what, good: found.is_some(), needed: false, says }
    })
    .collect()
}
