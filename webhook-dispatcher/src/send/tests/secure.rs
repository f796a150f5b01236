//! TLS, and HTTP/2 where the receiver can.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{future::join_all, stream};
use http_body_util::{BodyExt as _, Empty, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use super::*;

/// A receiver with a certificate for `localhost`, and who vouches for it.
struct Secure {
    port: u16,
    roots: Arc<RootCertStore>,
    connections: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Secure {
    async fn start(protocol: &'static str) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let mut serving = JoinSet::new();
        let count = Arc::clone(&connections);
        serving.spawn(async move {
            let mut talking = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let acceptor = acceptor.clone();
                talking.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let io = TokioIo::new(stream);
                    let service = service_fn(accept);
                    // A sender that goes away ends its connection.
                    let _gone = match protocol {
                        "h2" => {
                            let serving = http2::Builder::new(TokioExecutor::new());
                            serving.serve_connection(io, service).await
                        }
                        _ => http1::Builder::new().serve_connection(io, service).await,
                    };
                });
            }
        });
        Self { port, roots: Arc::new(roots), connections, _serving: serving }
    }

    fn sender(&self) -> Sender {
        sender(Settings { roots: Some(Arc::clone(&self.roots)), ..settings() })
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/hooks", self.port)
    }
}

type Flow = BoxBody<Bytes, Infallible>;

/// Takes a request that has all it must have; below other paths it misbehaves.
async fn accept(request: Request<Incoming>) -> Result<Response<Flow>, hyper::Error> {
    let is_whole = request.method() == "POST"
        && request.headers()["webhook-id"] == "evt_1"
        && request.headers()["content-type"] == "application/json";
    let (status, body) = match request.uri().path() {
        _ if !is_whole => (400, Empty::new().boxed()),
        "/hooks" => (204, Empty::new().boxed()),
        "/flood" => (200, flow(64 * 1024, Duration::ZERO)),
        "/drip" => (200, flow(1, Duration::from_millis(10))),
        _ => (404, Empty::new().boxed()),
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = status.try_into().unwrap();
    Ok(answer)
}

/// So many bytes each so often, for ever.
fn flow(bytes: usize, apart: Duration) -> Flow {
    let chunk = Bytes::from(vec![b'.'; bytes]);
    let frames = stream::unfold(chunk, move |chunk| async move {
        tokio::time::sleep(apart).await;
        Some((Ok(Frame::data(chunk.clone())), chunk))
    });
    StreamBody::new(frames).boxed()
}

#[tokio::test]
async fn http_1_is_spoken_over_tls() {
    let receiver = Secure::start("http/1.1").await;
    let sender = receiver.sender();

    let first = sender.send(&request(&receiver.url())).await;
    let second = sender.send(&request(&receiver.url())).await;

    assert_eq!((first.status, first.version), (Some(204), Some(Version::Http1)));
    assert!(first.timings.dns.is_some() && first.timings.tls.is_some());
    assert!(second.reused && second.timings.tls.is_none());
    assert_eq!(receiver.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_connection_of_http_2_carries_many_requests_at_once() {
    let receiver = Secure::start("h2").await;
    let sender = receiver.sender();
    let request = request(&receiver.url());

    for round in 0..3 {
        let all = join_all((0..50).map(|_| sender.send(&request))).await;
        assert!(all.iter().all(|one| one.status == Some(204)));
        assert!(all.iter().all(|one| one.version == Some(Version::Http2)));
        // Even those who come before there is any wait for the first to dial.
        let dialled = all.iter().filter(|one| !one.reused).count();
        assert_eq!(dialled, usize::from(round == 0));
    }

    assert_eq!(receiver.connections.load(Ordering::SeqCst), 1);
    assert_eq!(sender.connections(), (1, 1));
}

#[tokio::test]
async fn a_receiver_of_http_1_over_tls_is_dialled_by_everybody_once_it_is_known() {
    let receiver = Secure::start("http/1.1").await;
    let sender = receiver.sender();
    let request = request(&receiver.url());

    for _ in 0..3 {
        let all = join_all((0..10).map(|_| sender.send(&request))).await;
        assert!(all.iter().all(|one| one.status == Some(204)));
    }

    let connections = receiver.connections.load(Ordering::SeqCst);
    assert!((1..=10).contains(&connections), "{connections} connections");
}

#[tokio::test]
async fn a_flood_and_a_drip_over_http_2_are_cut_off_and_hold_up_nobody_else() {
    let receiver = Secure::start("h2").await;
    let time_limit = Duration::from_millis(400);
    let roots = Some(Arc::clone(&receiver.roots));
    let sender = sender(Settings { time_limit, roots, ..settings() });
    let [flood, drip, well] = ["flood", "drip", "hooks"]
        .map(|path| request(&format!("https://localhost:{}/{path}", receiver.port)));
    sender.send(&well).await;

    let (flooded, dripped, told) =
        tokio::join!(sender.send(&flood), sender.send(&drip), sender.send(&well));

    assert_eq!((flooded.status, flooded.ruling.failure.clone()), (Some(200), None));
    assert!(flooded.read_bytes < 1024 * 1024, "{} bytes", flooded.read_bytes);
    assert_eq!((dripped.status, failure(&dripped)), (Some(200), ("timed_out", true)));
    assert!(dripped.timings.total < time_limit + Duration::from_millis(100));
    assert_eq!(told.status, Some(204));
    assert!(told.timings.total < Duration::from_millis(300), "{:?}", told.timings);
    // What was cut off was one request, not the connection.
    assert_eq!(sender.send(&well).await.status, Some(204));
    assert_eq!(receiver.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_is_not_vouched_for_is_not_told() {
    let (receiver, other) = (Secure::start("h2").await, Secure::start("h2").await);

    let sent = other.sender().send(&request(&receiver.url())).await;

    assert_eq!(failure(&sent), ("tls_failed", true), "{}", reason(&sent));
    // Nor is one whose certificate is for another name.
    let by_address = receiver.url().replace("localhost", "127.0.0.1");
    let sent = receiver.sender().send(&request(&by_address)).await;
    assert_eq!(failure(&sent), ("tls_failed", true), "{}", reason(&sent));
}
