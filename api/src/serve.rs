//! Serving the router on a socket: how many connections, how slow they may be, and how it ends.

use std::{io, time::Duration};

use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::flowing::Flowing;

/// A process may have 1024 files open unless told otherwise; the store needs some of them.
const CONNECTIONS_MAX: usize = 900;
/// For the head of a request to arrive, and for a connection to lie idle.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// For requests to end once the process is told to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// For the system to have a file to spare again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then lets what was begun come to its end, but not for long.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    let places = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Whoever finds no place waits in the system's own queue.
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = async {
                let place = places.clone().acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
            // Those that have ended are let go, so that the set does not grow.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            (Ok(place), Ok((stream, _))) => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    connection(stream, router, stop).await;
                    drop(place);
                });
            }
            (_, Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a connection could not be accepted"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            (Err(_), _) => break,
        }
    }
    drop(listener);
    let drained = tokio::time::timeout(DRAIN_WITHIN, async {
        while connections.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        tracing::warn!(connections = connections.len(), "requests were cut off at the stop");
    }
    Ok(())
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    // Events are small and wanted at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection keeps its delay");
    }
    let service = TowerToHyperService::new(
        router.map_request(|request: Request<Incoming>| request.map(Body::new)),
    );
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(Flowing::new(stream)), service);
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke off");
    }
}
