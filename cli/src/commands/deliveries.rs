//! Webhook deliveries: which were made, which failed and why, and sending one again.

use serde_json::{Value, json};

use super::{Context, builds::waiting};
use crate::{
    args::Deliveries,
    exit::{Error, Exit},
    progress::ms,
    table::table,
};

pub async fn run(context: &Context, args: Deliveries) -> Result<Exit, Error> {
    let client = context.client()?;
    if let Some(id) = &args.redeliver {
        let path = format!("/v1/deliveries/{id}/redeliver");
        let answer = client.post(&path, &json!({}), &[]).await?;
        context.print(&answer, || format!("{id} is sent again"));
        return Ok(Exit::Done);
    }
    if let Some(id) = &args.show {
        let answer = client.get(&format!("/v1/deliveries/{id}")).await?;
        context.print(&answer, || described(&answer));
        return Ok(Exit::Done);
    }
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.build.map(|build| ("build", build)));
    query.extend(args.state.map(|state| ("state", state)));
    let answer = client.get_with("/v1/deliveries", &query).await?;
    context.print(&answer, || {
        let rows: Vec<_> = answer["deliveries"].as_array().into_iter().flatten().map(row).collect();
        if rows.is_empty() {
            return "no deliveries".to_owned();
        }
        table(&["DELIVERY", "STATE", "TRIES", "EVENT", "URL", "LAST FAILURE"], &rows)
    });
    Ok(Exit::Done)
}

fn row(delivery: &Value) -> Vec<String> {
    let text = |name: &str| delivery[name].as_str().unwrap_or_default().to_owned();
    vec![
        text("id"),
        text("state"),
        delivery["attempt"].as_u64().unwrap_or(0).to_string(),
        text("type"),
        text("url"),
        delivery["error"]["reason"].as_str().unwrap_or_default().to_owned(),
    ]
}

fn described(delivery: &Value) -> String {
    let rows: Vec<_> = delivery["attempts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|attempt| {
            let text = |name: &str| attempt[name].as_str().unwrap_or_default().to_owned();
            vec![
                attempt["number"].as_u64().unwrap_or(0).to_string(),
                text("state"),
                attempt["status"].as_u64().map_or_else(String::new, |status| status.to_string()),
                attempt["took_ms"].as_i64().map_or_else(String::new, ms),
                text("started_at"),
                attempt["error"]["reason"].as_str().unwrap_or_default().to_owned(),
            ]
        })
        .collect();
    let head = row(delivery);
    let waits = waiting(&delivery["waiting"]).map(|waits| format!("\nwaits {waits}"));
    format!(
        "{}  {}  {}  to {}{}\n\n{}",
        head[0],
        head[1],
        head[3],
        head[4],
        waits.unwrap_or_default(),
        table(&["TRY", "STATE", "STATUS", "TOOK", "AT", "FAILURE"], &rows)
    )
}
