//! Whatever a receiver does, it is over at the time limit, and takes no more memory than an
//! excerpt.

use super::{server::*, *};

const LIMIT: Duration = Duration::from_millis(400);

/// Sends, and sees to it that it takes as long as the time limit and no longer.
async fn cut_off(say: Say) -> Sent {
    let server = Server::start([say]).await;
    let sent = within(LIMIT).send(&request(&server.url())).await;

    let total = sent.timings.total;
    assert!(LIMIT <= total && total < LIMIT + Duration::from_millis(100), "{total:?}");
    sent
}

#[tokio::test]
async fn silence_ends_at_the_time_limit() {
    let sent = cut_off(Say::Nothing).await;

    assert_eq!(failure(&sent), ("timed_out", true));
    assert_eq!(reason(&sent), "no complete answer within 0.4 seconds");
    assert_eq!(sent.status, None);
    assert!(sent.timings.connect.is_some() && sent.timings.first_byte.is_none());
}

#[tokio::test]
async fn a_dripping_head_ends_at_the_time_limit() {
    let drip = Say::Drip("HTTP/1.1 200 X\r\n", "a: b\r\n", Duration::from_millis(10));

    assert_eq!(failure(&cut_off(drip).await), ("timed_out", true));
}

#[tokio::test]
async fn a_dripping_body_ends_at_the_time_limit_and_shows_what_came() {
    let head = "HTTP/1.1 200 X\r\ncontent-length: 100000\r\n\r\n";
    let sent = cut_off(Say::Drip(head, "drop ", Duration::from_millis(10))).await;

    assert_eq!(failure(&sent), ("timed_out", true));
    assert_eq!(sent.status, Some(200));
    assert!(sent.excerpt.unwrap().starts_with("drop drop"));
    assert!(sent.timings.first_byte.unwrap() < LIMIT);
}

#[tokio::test]
async fn a_refusal_stays_a_refusal_however_its_body_ends() {
    let head = "HTTP/1.1 503 X\r\nretry-after: 7\r\ncontent-length: 100000\r\n\r\n";
    let sent = cut_off(Say::Drip(head, ".", Duration::from_millis(10))).await;

    assert_eq!(failure(&sent), ("refused", true));
    assert_eq!(sent.ruling.pause, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_flood_is_not_swallowed() {
    for head in [
        "HTTP/1.1 200 X\r\ncontent-length: 2147483648\r\n\r\n",
        "HTTP/1.1 200 X\r\n\r\n",
        "HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\n\r\n",
    ] {
        let server = Server::start([Say::Flood(head)]).await;
        let sender = sender(settings());

        let sent = sender.send(&request(&server.url())).await;

        assert_eq!(sent.ruling.failure, None, "its status decided");
        assert!(sent.excerpt.unwrap().len() <= EXCERPT_BYTES_MAX);
        assert!(sent.timings.total < Duration::from_secs(2), "{:?}", sent.timings);
        // The connection is closed, and what was on its way is little.
        assert_eq!(sender.connections(), (1, 0));
        let flooded = server.flooded();
        assert!(flooded < 16 * 1024 * 1024, "{flooded} bytes");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(server.flooded(), flooded, "somebody still reads it");
    }
}

#[tokio::test]
async fn a_head_without_end_is_given_up() {
    let server = Server::start([Say::Flood("HTTP/1.1 200 X\r\na: ")]).await;

    let sent = sender(settings()).send(&request(&server.url())).await;

    assert_eq!(failure(&sent), ("bad_answer", true), "{}", reason(&sent));
    assert!(server.flooded() < 16 * 1024 * 1024, "{} bytes", server.flooded());
}

#[tokio::test]
async fn nothing_is_decompressed() {
    let bomb = "HTTP/1.1 500 X\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nbomb";
    let server = Server::start([Say::All(bomb.to_owned())]).await;

    let sent = sender(settings()).send(&request(&server.url())).await;

    assert_eq!(sent.excerpt.as_deref(), Some("(gzip; not decoded)"));
    assert!(server.requests()[0].contains("\r\naccept-encoding: identity\r\n"));
}

#[tokio::test]
async fn an_excerpt_is_text_that_every_store_can_keep() {
    let odd = "HTTP/1.1 200 X\r\nx-odd: a\tb\r\ncontent-length: 5\r\n\r\na\0b\u{e9}";
    let server = Server::start([Say::All(odd.to_owned())]).await;

    let sent = sender(settings()).send(&request(&server.url())).await;

    assert_eq!(sent.excerpt.as_deref(), Some("a\u{fffd}b\u{e9}"));
    assert!(sent.headers.contains(&("x-odd".to_owned(), "a\tb".to_owned())));
}

#[tokio::test]
async fn words_that_are_no_http_are_a_bad_answer() {
    for words in ["SSH-2.0-OpenSSH_9.6\r\n", "HTTP/9 200 X\r\n\r\n", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0"]
    {
        let server = Server::start([Say::Last(words.to_owned())]).await;

        let sent = sender(settings()).send(&request(&server.url())).await;

        assert_eq!(failure(&sent), ("bad_answer", true), "{words:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_tried_again_later_and_not_at_once() {
    let server = Server::start([status(204), Say::Last(String::new())]).await;
    let sender = sender(settings());
    sender.send(&request(&server.url())).await;

    // Over a connection that served before: nobody knows whether this one was seen.
    let sent = sender.send(&request(&server.url())).await;

    assert!(sent.reused);
    assert_eq!(failure(&sent), ("broken_off", true));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn nobody_at_home_is_said_with_the_address() {
    let at = Server::start([status(204)]).await.at;

    let sent = sender(settings()).send(&request(&format!("http://{at}/"))).await;

    assert_eq!(failure(&sent), ("not_connected", true));
    assert!(reason(&sent).starts_with(&at.to_string()), "{}", reason(&sent));
}
