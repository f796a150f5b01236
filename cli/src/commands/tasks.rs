//! Single tasks: added, taken out, given another go, forked.

use std::{io::Read as _, path::Path};

use serde_json::{Value, json};

use super::{
    Context,
    builds::{follow, id_of},
};
use crate::{
    args::{TakeOut, Tasks},
    exit::{Error, Exit},
};

pub async fn run(context: &Context, wanted: Tasks) -> Result<Exit, Error> {
    match wanted {
        Tasks::Add { build, file } => add(context, &build, &file).await,
        Tasks::Cancel(task) => take_out(context, task, "cancel").await,
        Tasks::Skip(task) => take_out(context, task, "skip").await,
        Tasks::Retry { task } => {
            let path = format!("/v1/tasks/{task}/retry");
            let answer = context.client()?.post(&path, &json!({}), &[]).await?;
            context.print(&answer, || format!("{task} runs again"));
            Ok(Exit::Done)
        }
        Tasks::Fork { task, input, watch } => fork(context, &task, input, watch).await,
    }
}

async fn add(context: &Context, build: &str, file: &Path) -> Result<Exit, Error> {
    let text = if file == Path::new("-") {
        standard_input("the tasks")?
    } else {
        let reading = || format!("reading {}", file.display());
        std::fs::read_to_string(file).map_err(|error| Error::here(reading(), error))?
    };
    let body = json_of("the tasks", &text)?;
    let path = format!("/v1/builds/{build}/tasks");
    let answer = context.client()?.post(&path, &body, &[]).await?;
    context.print(&answer, || {
        let tasks = answer["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let lines = tasks.iter().map(|task| {
            let text = |name: &str| crate::table::plain(task[name].as_str().unwrap_or_default());
            format!("{}  {}  {}", text("id"), text("state"), text("key"))
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    Ok(Exit::Done)
}

async fn take_out(context: &Context, wanted: TakeOut, verb: &str) -> Result<Exit, Error> {
    let TakeOut { task, reason } = wanted;
    let path = format!("/v1/tasks/{task}/{verb}");
    let answer = context.client()?.post(&path, &json!({ "reason": reason }), &[]).await?;
    context
        .print(&answer, || format!("{task} is {}", answer["state"].as_str().unwrap_or_default()));
    Ok(Exit::Done)
}

async fn fork(
    context: &Context,
    task: &str,
    input: Option<String>,
    watch: bool,
) -> Result<Exit, Error> {
    let body = match input.as_deref() {
        None => json!({}),
        Some("-") => json!({ "input": json_of("the input", &standard_input("the input")?)? }),
        Some(text) => json!({ "input": json_of("the input", text)? }),
    };
    let client = context.client()?;
    let answer = client.post(&format!("/v1/tasks/{task}/fork"), &body, &[]).await?;
    let id = id_of(&answer)?;
    context.print(&answer, || id.clone());
    if watch { follow(&client, &id).await } else { Ok(Exit::Done) }
}

fn standard_input(what: &str) -> Result<String, Error> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Error::here(format!("reading {what} from standard input"), error))?;
    Ok(text)
}

fn json_of(what: &str, text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|error| Error::here(format!("{what}: not JSON"), error))
}
