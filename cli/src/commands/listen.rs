//! A webhook receiver on this machine: checks signatures, prints what came.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::any,
};
use buildfleet::{
    domain::signing::{self, Secret, Standard, Verifier},
    shutdown,
};
use console::style;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Context;
use crate::{
    answer,
    args::{self, Detail},
    exit::{Error, Exit},
};

struct Receiver {
    keys: Verifier,
    status: StatusCode,
    detail: Detail,
    json: bool,
}

pub async fn run(context: &Context, args: args::Listen) -> Result<Exit, Error> {
    let status = StatusCode::from_u16(args.status)
        .map_err(|_| Error::Usage(format!("--status: {} is no HTTP status", args.status)))?;
    let keys = Verifier::read([&Secret::new(args.secret)])
        .map_err(|bad| Error::Usage(format!("--secret: {bad}")))?;
    let stop = shutdown::on_signal()
        .map_err(|error| Error::here("listening for signals", error))?
        .or_exit();
    let here = |error: std::io::Error| Error::here(format!("listening on {}", args.listen), error);
    let listener = TcpListener::bind(args.listen).await.map_err(here)?;
    let address = listener.local_addr().map_err(here)?;
    eprintln!("receiving webhooks at http://{address}/ until Ctrl-C");
    let receiver = Receiver { keys, status, detail: args.detail, json: context.json };
    let router = Router::new().fallback(any(receive)).with_state(Arc::new(receiver));
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
        .map_err(here)?;
    Ok(Exit::Done)
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let verdict = verdict(&receiver.keys, &headers, &body);
    let event: Value = serde_json::from_slice(&body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
    if receiver.json {
        answer::line(
            json!({ "verified": verdict.is_ok(), "fault": verdict.as_ref().err(), "event": event }),
        );
    } else {
        let mark = match &verdict {
            Ok(()) => style("✔ verified").green().to_string(),
            Err(fault) => style(format!("✘ {fault}")).red().to_string(),
        };
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let name = event["data"]["taskName"].as_str().unwrap_or_default();
        answer::line(format_args!(
            "{mark}  {}  {}  {name}",
            text(&event["buildId"]),
            text(&event["type"])
        ));
        if receiver.detail == Detail::Body {
            answer::line(format_args!("{event:#}"));
        }
    }
    if verdict.is_ok() { receiver.status } else { StatusCode::UNAUTHORIZED }
}

/// Checks both signatures. The time is not checked: what was sent a while ago is printed too.
fn verdict(keys: &Verifier, headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if keys.has_shared() {
        let plain = text(signing::PLAIN_SIGNATURE).ok_or("no X-Webhook-Signature")?;
        keys.plain(plain, body).map_err(|mismatch| mismatch.to_string())?;
    }
    let came = Standard {
        id: text(signing::ID),
        timestamp: text(signing::TIMESTAMP),
        signature: text(signing::SIGNATURE),
    };
    keys.standard(came, body, None).map_err(|mismatch| mismatch.to_string())
}
