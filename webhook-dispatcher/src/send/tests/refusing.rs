//! What is not dialled, and what is not followed.

use super::{server::*, *};

#[tokio::test]
async fn this_machine_is_not_dialled_under_any_of_its_names() {
    let server = Server::start([status(204)]).await;
    let sender = sender(Settings { allowed: Allowed::default(), ..settings() });
    let port = server.at.port();
    for host in ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost"] {
        let sent = sender.send(&request(&format!("http://{host}:{port}/"))).await;

        assert_eq!(failure(&sent), (BLOCKED, false), "{host}");
        let reason = reason(&sent);
        assert!(reason.contains("BUILDFLEET_WEBHOOK_ALLOW"), "{reason}");
    }
    assert_eq!(server.connections(), 0);
    assert_eq!(sender.connections(), (0, 0));
}

#[tokio::test]
async fn what_could_never_be_registered_is_not_tried_again() {
    let sender = sender(settings());
    for url in ["", "ftp://example.com/", "http://user:pw@example.com/", "http://:80/"] {
        let sent = sender.send(&request(url)).await;

        assert_eq!(failure(&sent), (BAD_URL, false), "{url}");
    }
    let sent = sender.send(&request("http://8.8.8.8:25/")).await;
    assert_eq!(failure(&sent), (BLOCKED, false));
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_leads_nowhere() {
    let inside = Server::start([status(204)]).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("HTTP/1.1 {status} X\r\nlocation: {}\r\n\r\n", inside.url());
        let server = Server::start([Say::Last(location)]).await;

        let sent = sender(settings()).send(&request(&server.url())).await;

        assert_eq!(failure(&sent), ("redirected", true), "{status}");
        assert_eq!(server.requests().len(), 1);
    }
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn a_receiver_steers_its_deliveries() {
    let words = |head: &str| Say::Last(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n"));
    let server = Server::start([
        words("204 X\r\nwebhook-delivery: disable"),
        words("500 X\r\nwebhook-delivery: abort-message"),
        words("429 X\r\nretry-after: 20"),
        words("503 X\r\nretry-after: Wed, 19 Nov 2025 10:00:05 GMT"),
        words("410 X"),
    ])
    .await;
    let sender = sender(settings());
    let (mut rulings, mut disabled) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let sent = sender.send(&request(&server.url())).await;
        disabled.push(sent.asked().disable);
        rulings.push(sent.ruling);
    }

    assert!(rulings[0].failure.is_none() && rulings[0].disable);
    assert_eq!(rulings[1].failure.as_ref().unwrap().code, "rejected");
    assert_eq!((rulings[2].pause, rulings[2].throttle), (Some(Duration::from_secs(20)), true));
    // Five seconds after the request was signed, by a receiver that does not tell its time.
    assert_eq!(rulings[3].pause, Some(Duration::from_secs(5)));
    assert!(rulings[4].disable);
    assert_eq!(disabled[0].as_deref(), Some("it answered with webhook-delivery: disable"));
    assert_eq!(disabled[4].as_deref(), Some("it answered 410"));
    assert_eq!(disabled[1..4], [None, None, None]);
}

#[test]
fn addresses_of_this_machine_are_known() {
    assert!(dial::is_of_this_machine([127, 0, 0, 1].into()));
    assert!(!dial::is_of_this_machine([8, 8, 8, 8].into()));
}
