//! Connections are used again, and given up when they should be.

use futures_util::future::join_all;

use super::{server::*, *};

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = Server::start([status(204)]).await;
    let sender = sender(settings());

    let first = sender.send(&request(&server.url())).await;
    let mut last = first.clone();
    for _ in 0..99 {
        last = sender.send(&request(&server.url())).await;
    }

    assert_eq!(server.connections(), 1);
    assert_eq!(server.requests().len(), 100);
    assert_eq!((first.ruling.failure, first.status), (None, Some(204)));
    assert!(!first.reused && last.reused);
    assert_eq!((first.peer, first.version), (Some(server.at), Some(Version::Http1)));
    assert!(first.timings.connect.is_some() && first.timings.first_byte.is_some());
    assert!(first.timings.dns.is_none() && first.timings.tls.is_none());
    assert!(last.timings.connect.is_none() && last.timings.first_byte.is_some());
    assert!(last.timings.first_byte.unwrap() <= last.timings.total);
    assert_eq!(sender.connections(), (1, 1));
}

#[tokio::test]
async fn what_was_seen_is_data_for_the_log_of_attempts() {
    let words = "HTTP/1.1 500 X\r\nx-odd: a\r\nretry-after: 3\r\ncontent-length: 4\r\n\r\noops";
    let server = Server::start([Say::All(words.to_owned())]).await;
    let request = request(&server.url());

    let sent = sender(settings()).send(&request).await;

    let seen = sent.exchange(&request);
    assert_eq!(seen.address, Some(server.at.to_string()));
    assert_eq!((seen.version.as_deref(), seen.reused), (Some("HTTP/1.1"), false));
    assert!(seen.connected_ms.unwrap() + seen.first_byte_ms.unwrap() <= 1000.0, "{seen:?}");
    assert!(seen.resolved_ms.is_none() && seen.secured_ms.is_none());
    assert_eq!(seen.answer_headers[0], ("x-odd".to_owned(), "a".to_owned()));
    assert_eq!(seen.answer_bytes, Some(4));
    assert_eq!(seen.body_sha256, Some(request.body_sha256()));
    assert_eq!(seen.request_headers, request.headers_to_show());
    let asked = sent.asked();
    assert_eq!((asked.retry_after, asked.slow_down), (Some(Duration::from_secs(3)), false));
    assert_eq!(asked.disable, None);
}

#[tokio::test]
async fn what_is_sent_is_what_was_signed() {
    let server = Server::start([status(204)]).await;
    let signed = request(&server.url());
    let headers = signed.headers.clone();

    sender(settings()).send(&signed).await;

    let mut wanted = vec!["POST /hooks?a=b HTTP/1.1".to_owned()];
    for (name, value) in &headers {
        wanted.push(format!("{name}: {}", value.to_str().unwrap()));
    }
    wanted.push(format!("host: {}", server.at));
    wanted.push("content-length: 2".to_owned());
    assert_eq!(server.requests()[0], format!("{}\r\n\r\n{{}}", wanted.join("\r\n")));
}

#[tokio::test]
async fn requests_at_once_have_a_connection_each_and_leave_them_to_the_next() {
    let server = Server::start([status(204)]).await;
    let sender = sender(settings());

    let request = request(&server.url());
    for _ in 0..5 {
        let all = join_all((0..10).map(|_| sender.send(&request))).await;
        assert!(all.iter().all(|sent| sent.ruling.failure.is_none()));
    }

    assert_eq!(server.requests().len(), 50);
    assert!(server.connections() <= 10, "{} connections", server.connections());
}

#[tokio::test]
async fn a_connection_that_its_receiver_closes_is_not_used_again() {
    let closing = "HTTP/1.1 204 X\r\nconnection: close\r\n\r\n".to_owned();
    let silent = "HTTP/1.1 204 X\r\n\r\n".to_owned();
    let server = Server::start([Say::Last(closing), Say::Last(silent), status(204)]).await;
    let sender = sender(settings());

    for _ in 0..3 {
        let sent = sender.send(&request(&server.url())).await;
        assert_eq!(sent.ruling.failure, None);
        // The end of the connection has to come through before it can be seen.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    assert_eq!(server.connections(), 3);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_receiver_says_how_long_a_connection_may_wait() {
    let head = "HTTP/1.1 204 X\r\nconnection: keep-alive\r\n";
    let short = format!("{head}keep-alive: timeout=1, max=100\r\n\r\n");
    let long = format!("{head}keep-alive: timeout=5\r\n\r\n");
    let server = Server::start([Say::All(short), Say::All(long)]).await;
    let sender = sender(settings());

    for kept in [0, 1, 1] {
        sender.send(&request(&server.url())).await;
        assert_eq!(sender.connections().1, kept);
    }

    assert_eq!(server.connections(), 2);
    let now = Instant::now();
    sender.0.pool.sweep(now + Duration::from_millis(3_900));
    assert_eq!(sender.connections().1, 1);
    sender.0.pool.sweep(now + Duration::from_millis(4_100));
    assert_eq!(sender.connections().1, 0);
}

#[tokio::test]
async fn a_connection_that_went_while_idle_is_swept() {
    let server = Server::start([status(204)]).await;
    let sender = sender(settings());
    sender.send(&request(&server.url())).await;
    assert_eq!(sender.connections().1, 1);

    drop(server);
    tokio::time::sleep(Duration::from_millis(20)).await;
    sender.0.pool.sweep(Instant::now());

    assert_eq!(sender.connections().1, 0);
}

#[tokio::test]
async fn a_connection_is_kept_past_a_body_of_some_length() {
    for bytes in [1, EXCERPT_BYTES_MAX, EXCERPT_BYTES_MAX + 1, 60_000] {
        let body = "x".repeat(bytes);
        let words = format!("HTTP/1.1 200 X\r\ncontent-length: {bytes}\r\n\r\n{body}");
        let chunked = format!(
            "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n{bytes:x}\r\n{body}\r\n0\r\n\r\n"
        );
        let server = Server::start([Say::All(words), Say::All(chunked)]).await;
        let sender = sender(settings());

        for _ in 0..4 {
            let sent = sender.send(&request(&server.url())).await;
            let kept = bytes.min(EXCERPT_BYTES_MAX);
            assert_eq!(sent.excerpt.as_deref(), Some(&body[..kept]), "{bytes}");
        }

        assert_eq!(server.connections(), 1, "{bytes}");
    }
}
