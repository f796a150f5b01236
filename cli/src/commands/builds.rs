//! Builds: submitting, following, listing, deciding.

use std::io::Read as _;

use serde_json::{Map, Value, json};

use super::{Context, project};
use crate::{
    answer,
    args::{BriefArgs, List, Submit},
    client::Client,
    exit::{Error, Exit},
    progress::{Progress, ms},
    table::{plain, table},
};

/// The body of a submission.
pub fn body(brief: &BriefArgs) -> Result<Value, Error> {
    let mut body = Map::new();
    let prompt = if brief.prompt == "-" {
        let mut prompt = String::new();
        std::io::stdin()
            .read_to_string(&mut prompt)
            .map_err(|error| Error::here("reading the brief from standard input", error))?;
        prompt
    } else {
        brief.prompt.clone()
    };
    body.insert("prompt".to_owned(), prompt.into());
    for (name, value) in [
        ("project_type", &brief.project_type),
        ("framework", &brief.framework),
        ("complexity", &brief.complexity),
        ("limit_key", &brief.limit_key),
        ("on_loss", &brief.on_loss),
    ] {
        if let Some(value) = value {
            body.insert(name.to_owned(), value.clone().into());
        }
    }
    if !brief.features.is_empty() {
        body.insert("features".to_owned(), brief.features.clone().into());
    }
    if let Some(priority) = brief.priority {
        body.insert("priority".to_owned(), priority.into());
    }
    if let Some(secs) = brief.deadline_secs {
        body.insert("deadline_secs".to_owned(), secs.into());
    }
    if brief.require_approval {
        body.insert("require_approval".to_owned(), true.into());
    }
    if brief.fail_fast {
        body.insert("on_task_failure".to_owned(), "fail_fast".into());
    }
    Ok(Value::Object(body))
}

pub async fn submit(context: &Context, submit: Submit) -> Result<Exit, Error> {
    let client = context.client()?;
    let mut body = body(&submit.brief)?;
    if let Some(url) = &submit.webhook {
        body["webhook"] = json!({ "url": url });
        if let Some(secret) = &submit.webhook_secret {
            body["webhook"]["secret"] = secret.as_str().into();
        }
    }
    let key = submit.idempotency_key.as_deref();
    let headers: Vec<_> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
    let answer = client.post("/v1/builds", &body, &headers).await?;
    let id = id_of(&answer)?;
    if !submit.watch {
        context.print(&answer, || match answer["webhook"]["secret"].as_str() {
            Some(secret) => format!("{id}\nits webhooks are signed with {secret}"),
            None => id.clone(),
        });
        return Ok(Exit::Done);
    }
    eprintln!("{id}");
    let exit = follow(&client, &id).await?;
    if exit == Exit::Done
        && let Some(out) = submit.out
    {
        project::write(&client, &id, &out).await?;
        eprintln!("the project is in {}", out.display());
    }
    let build = client.get(&format!("/v1/builds/{id}")).await?;
    context.print(&build, || id.clone());
    Ok(exit)
}

/// The id in an answer.
pub fn id_of(answer: &Value) -> Result<String, Error> {
    answer["id"]
        .as_str()
        .map(ToOwned::to_owned)
        .ok_or_else(|| Error::NotDone("the API's answer names no build".to_owned()))
}

/// The number of the newest event.
async fn last_seq(client: &Client, build: &str) -> Result<u64, Error> {
    let mut after = 0;
    loop {
        let path = format!("/v1/builds/{build}/events?limit=1000&after={after}");
        let page = client.get(&path).await?;
        match page["events"].as_array().and_then(|events| events.last()) {
            Some(event) => after = event["seq"].as_u64().unwrap_or(after),
            None => return Ok(after),
        }
    }
}

/// Shows a build as it goes, from its first event.
pub async fn follow(client: &Client, build: &str) -> Result<Exit, Error> {
    follow_from(client, build, 0).await
}

/// Shows a build as it goes, from the event after `after`.
async fn follow_from(client: &Client, build: &str, after: u64) -> Result<Exit, Error> {
    let mut progress = Progress::new();
    client
        .follow(build, after, |event| {
            progress.hear(event);
            true
        })
        .await?;
    // A build that had ended and was retried has an end in the middle of its log.
    let state = client.get(&format!("/v1/builds/{build}")).await?;
    Ok(if state["state"] == "completed" { Exit::Done } else { Exit::NotDone })
}

pub async fn watch(context: &Context, build: &str) -> Result<Exit, Error> {
    let client = context.client()?;
    if !context.json {
        return follow(&client, build).await;
    }
    let mut end = String::new();
    client
        .follow(build, 0, |event| {
            end.clone_from(&event.kind);
            answer::line(json!({
                "seq": event.seq,
                "type": event.kind,
                "timestamp": event.timestamp,
                "data": event.data,
            }));
            true
        })
        .await?;
    Ok(if end == "build_completed" { Exit::Done } else { Exit::NotDone })
}

pub async fn list(context: &Context, list: List) -> Result<Exit, Error> {
    let client = context.client()?;
    let mut query = vec![("limit", list.limit.to_string())];
    query.extend(list.state.map(|state| ("state", state)));
    query.extend(list.cursor.map(|cursor| ("cursor", cursor)));
    let answer = client.get_with("/v1/builds", &query).await?;
    context.print(&answer, || {
        let builds = answer["builds"].as_array().map(Vec::as_slice).unwrap_or_default();
        if builds.is_empty() {
            return "no builds; `buildfleet submit \"...\"` sends the first".to_owned();
        }
        let rows: Vec<_> = builds.iter().map(row).collect();
        let mut words = table(&["BUILD", "STATE", "DONE", "CREATED", "PROMPT"], &rows);
        if let Some(cursor) = answer["next_cursor"].as_str() {
            words += &format!("\nmore with --cursor {cursor}");
        }
        words
    });
    Ok(Exit::Done)
}

fn row(build: &Value) -> Vec<String> {
    let text = |name: &str| build[name].as_str().unwrap_or_default().to_owned();
    vec![
        text("id"),
        text("state"),
        format!("{:.0} %", build["progress"].as_f64().unwrap_or(0.0)),
        text("created_at").chars().take(19).collect::<String>().replace('T', " "),
        text("prompt").split_whitespace().collect::<Vec<_>>().join(" "),
    ]
}

pub async fn show(context: &Context, build: &str) -> Result<Exit, Error> {
    let client = context.client()?;
    let answer = client.get(&format!("/v1/builds/{build}")).await?;
    let tasks = match client.get(&format!("/v1/builds/{build}/tasks")).await {
        // There is no plan yet, so there are no tasks.
        Err(Error::Refused { status: 404 | 409, .. }) => Value::Null,
        tasks => tasks?,
    };
    let mut whole = answer.clone();
    whole["task_list"] = tasks["tasks"].clone();
    context.print(&whole, || described(&answer, &tasks));
    Ok(Exit::Done)
}

fn described(build: &Value, tasks: &Value) -> String {
    let text = |name: &str| plain(build[name].as_str().unwrap_or_default());
    let mut words = vec![format!("{}  {}", text("id"), text("state"))];
    let prompt = build["prompt"].as_str().unwrap_or_default();
    let prompt = plain(&prompt.split_whitespace().collect::<Vec<_>>().join(" "));
    words.push(format!("brief     {prompt}"));
    words.push(format!("progress  {:.0} %", build["progress"].as_f64().unwrap_or(0.0)));
    words.push(format!("created   {}", text("created_at")));
    if let Some(at) = build["finished_at"].as_str() {
        words.push(format!("finished  {at}"));
    }
    if let Some(by) = build["paused"]["by"].as_str() {
        let what = build["paused"]["what"].as_str().unwrap_or_default();
        words.push(format!("paused    the {what}, by {}", plain(by)));
    }
    if let Some(waits) = waiting(&build["waiting"]) {
        words.push(format!("waiting   {}", plain(&waits)));
    }
    if let Some(message) = build["error"]["message"].as_str() {
        words.push(format!("error     {}", plain(message)));
    }
    for note in build["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        words.push(format!("note      {}", plain(note)));
    }
    let rows: Vec<_> = tasks["tasks"].as_array().into_iter().flatten().map(task_row).collect();
    if !rows.is_empty() {
        words.push(String::new());
        words.push(table(&["TASK", "STATE", "TRIES", "NAME"], &rows));
    }
    words.join("\n")
}

/// Why something waits; nothing of dependencies and of the line, which are no news.
pub(super) fn waiting(waiting: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some(match waiting["on"].as_str()? {
        "time" => format!("until {}", text(&waiting["due_at"])),
        "limit" => format!("for room under the limit {}", text(&waiting["limit"]["name"])),
        "pause" => {
            let pause = &waiting["pause"];
            format!("while the {} is paused by {}", text(&pause["what"]), text(&pause["by"]))
        }
        "approval" => "for approval".to_owned(),
        "endpoint" => match waiting["due_at"].as_str() {
            Some(until) => {
                format!("until {until}, as its endpoint does not answer or asked for it")
            }
            None => "until its endpoint is enabled".to_owned(),
        },
        "turn" => "for those of its build that go before it".to_owned(),
        _ => return None,
    })
}

fn task_row(task: &Value) -> Vec<String> {
    let text = |name: &str| task[name].as_str().unwrap_or_default().to_owned();
    let mut failure = match task["error"]["reason"].as_str() {
        Some(reason) if task["state"] != "completed" => format!(": {reason}"),
        _ => String::new(),
    };
    if let Some(waits) = waiting(&task["waiting"]) {
        failure += &format!(" (waits {waits})");
    }
    vec![
        text("id"),
        text("state"),
        task["attempt"].as_u64().unwrap_or(0).to_string(),
        text("name") + &failure,
    ]
}

pub async fn cancel(context: &Context, build: &str) -> Result<Exit, Error> {
    let path = format!("/v1/builds/{build}/cancel");
    let answer = context.client()?.post(&path, &json!({}), &[]).await?;
    context.print(&answer, || format!("{build} is cancelled"));
    Ok(Exit::Done)
}

pub async fn retry(context: &Context, build: &str, watch: bool) -> Result<Exit, Error> {
    let client = context.client()?;
    let last = last_seq(&client, build).await?;
    let answer = client.post(&format!("/v1/builds/{build}/retry"), &json!({}), &[]).await?;
    context.print(&answer, || format!("{build} runs again"));
    if !watch {
        return Ok(Exit::Done);
    }
    follow_from(&client, build, last).await
}

pub async fn approve(context: &Context, id: &str) -> Result<Exit, Error> {
    let client = context.client()?;
    let plan = plan_of(&client, id).await?;
    let answer = client.post(&format!("/v1/plans/{plan}/approve"), &json!({}), &[]).await?;
    context.print(&answer, || format!("{plan} is approved"));
    Ok(Exit::Done)
}

pub async fn reject(context: &Context, id: &str, reason: Option<String>) -> Result<Exit, Error> {
    let client = context.client()?;
    let plan = plan_of(&client, id).await?;
    let body = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
    let answer = client.post(&format!("/v1/plans/{plan}/reject"), &body, &[]).await?;
    context.print(&answer, || format!("{plan} is rejected"));
    Ok(Exit::Done)
}

/// A plan is named by its own id, or by that of its build.
async fn plan_of(client: &Client, id: &str) -> Result<String, Error> {
    if id.starts_with("pln_") {
        return Ok(id.to_owned());
    }
    id_of(&client.get(&format!("/v1/builds/{id}/plan")).await?)
}

/// How long ago an age in milliseconds is, for tables.
pub fn age(age_ms: &Value) -> String {
    age_ms.as_i64().map_or_else(String::new, ms)
}
