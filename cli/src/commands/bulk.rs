//! One verb for all that a filter meets, until there are no more.

use serde_json::{Map, Value, json};

use super::{Context, scheduling::why};
use crate::{
    args::operating::{BuildsBulk, Bulk, BulkOf, DeliveriesBulk},
    exit::{Error, Exit},
    table::plain,
};

pub async fn run(context: &Context, action: Bulk) -> Result<Exit, Error> {
    let (action, filter, of) = match action {
        Bulk::Cancel(bulk) => builds("cancel", bulk),
        Bulk::Retry(bulk) => builds("retry", bulk),
        Bulk::Pause(bulk) => builds("pause", bulk),
        Bulk::Resume(bulk) => builds("resume", bulk),
        Bulk::Redeliver(bulk) => deliveries(bulk),
    };
    let things = if action == "redeliver" { "deliveries" } else { "builds" };
    let client = context.client()?;
    let path = format!("/v1/{things}/bulk");
    let mut body = json!({ "action": action, "filter": filter, "dry_run": of.dry_run });
    let mut whole = Value::Null;
    // A call has a bound of its own; this goes on until there are no more.
    loop {
        let answer = client.post(&path, &body, &why(of.reason.as_deref())).await?;
        let cursor = answer["next_cursor"].clone();
        add(&mut whole, answer);
        if cursor.is_null() {
            break;
        }
        body["cursor"] = cursor;
    }
    context.print(&whole, || described(&whole, action, things));
    let is_done = whole["refused"] == 0;
    Ok(if is_done { Exit::Done } else { Exit::NotDone })
}

fn builds(action: &'static str, bulk: BuildsBulk) -> (&'static str, Value, BulkOf) {
    let mut filter = Map::new();
    if !bulk.states.is_empty() {
        filter.insert("states".to_owned(), bulk.states.into());
    }
    for (name, value) in [
        ("project_id", bulk.project_id.map(Value::from)),
        ("stop_code", bulk.stop_code.map(Value::from)),
        ("priority", bulk.priority.map(Value::from)),
    ] {
        filter.extend(value.map(|value| (name.to_owned(), value)));
    }
    (action, made(filter, &bulk.of), bulk.of)
}

fn deliveries(bulk: DeliveriesBulk) -> (&'static str, Value, BulkOf) {
    let mut filter = Map::new();
    if !bulk.states.is_empty() {
        filter.insert("states".to_owned(), bulk.states.into());
    }
    for (name, value) in [("build_id", bulk.build), ("type", bulk.kind), ("code", bulk.code)] {
        filter.extend(value.map(|value| (name.to_owned(), value.into())));
    }
    ("redeliver", made(filter, &bulk.of), bulk.of)
}

/// A filter with what all filters have.
fn made(mut filter: Map<String, Value>, of: &BulkOf) -> Value {
    for (name, value) in
        [("created_since", &of.created_since), ("created_until", &of.created_until)]
    {
        filter.extend(value.clone().map(|value| (name.to_owned(), value.into())));
    }
    if !of.ids.is_empty() {
        filter.insert("ids".to_owned(), of.ids.clone().into());
    }
    filter.into()
}

/// Adds the counts of a call to those of the calls before.
fn add(whole: &mut Value, answer: Value) {
    if whole.is_null() {
        *whole = answer;
        return;
    }
    for name in ["done", "refused"] {
        let count = |of: &Value| of[name].as_u64().unwrap_or(0);
        whole[name] = (count(whole) + count(&answer)).into();
    }
    if let (Some(all), Some(new)) =
        (whole["refusals"].as_array_mut(), answer["refusals"].as_array())
    {
        all.extend(new.iter().cloned());
    }
    whole["next_cursor"] = answer["next_cursor"].clone();
}

fn described(whole: &Value, action: &str, things: &str) -> String {
    if whole["dry_run"] == true {
        let mut words = vec![format!("{action} would meet {} {things}", whole["matching"])];
        let ids = whole["ids"].as_array().into_iter().flatten().filter_map(Value::as_str);
        words.extend(ids.map(|id| format!("  {id}")));
        return words.join("\n");
    }
    let mut words = vec![format!(
        "{action} met {} {things}: {} done, {} refused",
        whole["matching"], whole["done"], whole["refused"]
    )];
    for refusal in whole["refusals"].as_array().into_iter().flatten() {
        let text = |name: &str| plain(refusal[name].as_str().unwrap_or_default());
        words.push(format!("  {}  {}", text("id"), text("message")));
    }
    words.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_go_on_are_counted_together() {
        let answer = |done: u32, id: &str, cursor: Option<&str>| {
            json!({
                "dry_run": false, "matching": 4, "done": done, "refused": 1,
                "refusals": [{ "id": id, "code": "c", "message": "m" }], "next_cursor": cursor,
            })
        };
        let mut whole = Value::Null;

        add(&mut whole, answer(2, "bld_1", Some("more")));
        add(&mut whole, answer(0, "bld_2", None));

        assert_eq!((&whole["done"], &whole["refused"]), (&json!(2), &json!(2)));
        assert_eq!(
            described(&whole, "cancel", "builds"),
            "cancel met 4 builds: 2 done, 2 refused\n  bld_1  m\n  bld_2  m"
        );
    }
}
