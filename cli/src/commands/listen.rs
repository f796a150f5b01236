//! A webhook receiver on this machine: checks signatures, prints what came, and misbehaves if it is
//! told to.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::Response,
    routing::any,
};
use buildfleet::{domain::signing::Verifier, shutdown};
use console::style;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Context, signing};
use crate::{
    answer,
    args::receiving::{self, Detail},
    exit::{Error, Exit},
};

struct Receiver {
    keys: Verifier,
    any_time: bool,
    detail: Detail,
    json: bool,
    manners: Manners,
    /// Webhooks that came so far.
    came: AtomicU64,
    count: Option<u64>,
    /// Cancelled with the last webhook that was waited for.
    enough: CancellationToken,
}

/// How senders are treated, checked.
struct Manners {
    statuses: Vec<StatusCode>,
    headers: HeaderMap,
    delay: Duration,
    body: Answer,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Empty,
    /// A byte each so often, for ever.
    Drip(Duration),
    /// So many bytes.
    Huge(u64),
}

pub async fn run(context: &Context, args: receiving::Listen) -> Result<Exit, Error> {
    let manners = Manners::read(&args.manners)?;
    let keys = signing::verifier(args.keys)?;
    let stop = shutdown::on_signal()
        .map_err(|error| Error::here("listening for signals", error))?
        .or_exit();
    let here = |error: std::io::Error| Error::here(format!("listening on {}", args.listen), error);
    let listener = TcpListener::bind(args.listen).await.map_err(here)?;
    let address = listener.local_addr().map_err(here)?;
    eprintln!("receiving webhooks at http://{address}/ until Ctrl-C");
    let enough = CancellationToken::new();
    let receiver = Receiver {
        keys,
        any_time: args.any_time,
        detail: args.detail,
        json: context.json,
        manners,
        came: AtomicU64::new(0),
        count: args.count,
        enough: enough.clone(),
    };
    let router = Router::new().fallback(any(receive)).with_state(Arc::new(receiver));
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = enough.cancelled() => {}
            }
        })
        .await
        .map_err(here)?;
    Ok(Exit::Done)
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let came = receiver.came.fetch_add(1, Ordering::Relaxed);
    let verified = receiver.print(&headers, &body);
    if receiver.count.is_some_and(|count| count <= came + 1) {
        receiver.enough.cancel();
    }
    tokio::time::sleep(receiver.manners.delay).await;
    if verified { receiver.manners.answer(came) } else { plain(StatusCode::UNAUTHORIZED) }
}

impl Receiver {
    /// Prints a webhook; answers whether it is to be believed.
    fn print(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let now = (!self.any_time).then(|| jiff::Timestamp::now().as_second());
        let verdict = signing::judge(&self.keys, text, body, now);
        let fault = verdict.err().map(|mismatch| mismatch.to_string());
        let event: Value = serde_json::from_slice(body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()));
        if self.json {
            let id = text(buildfleet::domain::signing::ID);
            answer::line(
                json!({ "verified": fault.is_none(), "fault": fault, "id": id, "event": event }),
            );
        } else {
            let mark = match &fault {
                None => style("✔ verified").green().to_string(),
                Some(fault) => style(format!("✘ {fault}")).red().to_string(),
            };
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            let name = event["data"]["taskName"].as_str().unwrap_or_default();
            answer::line(format_args!(
                "{mark}  {}  {}  {name}",
                text(&event["buildId"]),
                text(&event["type"])
            ));
            if self.detail == Detail::Body {
                answer::line(format_args!("{event:#}"));
            }
        }
        fault.is_none()
    }
}

impl Manners {
    fn read(args: &receiving::Manners) -> Result<Self, Error> {
        let statuses = args
            .status
            .iter()
            .map(|status| {
                StatusCode::from_u16(*status)
                    .ok()
                    .filter(|status| status.as_u16() >= 200)
                    .ok_or_else(|| Error::Usage(format!("--status: {status} ends no request")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut headers = HeaderMap::new();
        for line in &args.headers {
            let header = line.split_once(':').and_then(|(name, value)| {
                let name = HeaderName::try_from(name.trim()).ok()?;
                Some((name, HeaderValue::try_from(value.trim()).ok()?))
            });
            let (name, value) = header.ok_or_else(|| {
                Error::Usage(format!("--header: must be written NAME: VALUE, not {line:?}"))
            })?;
            headers.append(name, value);
        }
        let secs = |name: &str, secs: f64| {
            Duration::try_from_secs_f64(secs)
                .map_err(|_| Error::Usage(format!("{name}: {secs} is no length of time")))
        };
        let body = match (args.drip, args.huge) {
            (Some(apart), _) => Answer::Drip(secs("--drip", apart)?),
            (None, Some(bytes)) => Answer::Huge(bytes),
            (None, None) => Answer::Empty,
        };
        Ok(Self { statuses, headers, delay: secs("--delay", args.delay)?, body })
    }

    /// What the webhook is answered with that came after so many others.
    fn answer(&self, before: u64) -> Response {
        let turn = usize::try_from(before).unwrap_or(usize::MAX);
        let status = self.statuses.get(turn).or(self.statuses.last()).copied();
        let mut response = plain(status.unwrap_or(StatusCode::NO_CONTENT));
        response.headers_mut().extend(self.headers.clone());
        *response.body_mut() = self.body.stream();
        // A 204 has no body to misbehave with.
        if !matches!(self.body, Answer::Empty) && response.status() == StatusCode::NO_CONTENT {
            *response.status_mut() = StatusCode::OK;
        }
        response
    }
}

impl Answer {
    fn stream(self) -> Body {
        const CHUNK: &[u8] = &[b'.'; 64 * 1024];

        match self {
            Answer::Empty => Body::empty(),
            Answer::Drip(apart) => Body::from_stream(stream::unfold((), move |()| async move {
                tokio::time::sleep(apart).await;
                Some((Ok::<_, Infallible>(Bytes::from_static(b".")), ()))
            })),
            Answer::Huge(bytes) => Body::from_stream(stream::unfold(bytes, |left| async move {
                let next = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK.len());
                let chunk = Bytes::from_static(&CHUNK[..next]);
                (next > 0).then(|| (Ok::<_, Infallible>(chunk), left - next as u64))
            })),
        }
    }
}

fn plain(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
