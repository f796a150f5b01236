//! Names that lie: a name server whose answers change, mix and fail to come.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{net::UdpSocket, task::JoinSet};

use super::{server::*, *};

/// The one loopback address that these tests allow.
const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const BAD: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Answers every question with the addresses of the moment, to be believed for no time at all.
struct NameServer {
    at: SocketAddr,
    addresses: Arc<Mutex<Option<Vec<Ipv4Addr>>>>,
    asked: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl NameServer {
    async fn start(addresses: &[Ipv4Addr]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        let addresses = Arc::new(Mutex::new(Some(addresses.to_vec())));
        let asked = Arc::new(AtomicUsize::new(0));
        let mut serving = JoinSet::new();
        let (answers, count) = (Arc::clone(&addresses), Arc::clone(&asked));
        serving.spawn(async move {
            let mut question = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                count.fetch_add(1, Ordering::SeqCst);
                let addresses = answers.lock().unwrap().clone();
                if let Some(addresses) = addresses {
                    let answer = answer(&question[..length], &addresses);
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        Self { at, addresses, asked, _serving: serving }
    }

    /// From now on the answer is another; `None` is silence.
    fn now(&self, addresses: Option<&[Ipv4Addr]>) {
        *self.addresses.lock().unwrap() = addresses.map(<[_]>::to_vec);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn sender(&self) -> Sender {
        let allowed = Allowed::read(&[GOOD.to_string()]).unwrap();
        sender(Settings { allowed, name_servers: vec![self.at], ..settings() })
    }
}

/// An answer in the words of DNS (RFC 1035): no name if there are no addresses.
fn answer(question: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    let name_end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let wants_v4 = question[name_end..name_end + 2] == [0, 1];
    let answers = if wants_v4 { addresses } else { &[] };
    let code = if addresses.is_empty() { 3 } else { 0 };
    let mut bytes = question[..2].to_vec();
    bytes.extend([0x81, 0x80 | code, 0, 1, 0, answers.len() as u8, 0, 0, 0, 0]);
    bytes.extend(&question[12..name_end + 4]);
    for address in answers {
        // The name of the question, type A, class IN, no time to live, four bytes.
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        bytes.extend(address.octets());
    }
    bytes
}

fn url(server: &Server) -> String {
    format!("http://hooks.example:{}/", server.at.port())
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_refused_at_the_next_dial() {
    let server = Server::start_at(GOOD.into(), [status(204), status(204), close()]).await;
    let inside = Server::start_at(BAD.into(), [status(204)]).await;
    let names = NameServer::start(&[GOOD]).await;
    let sender = names.sender();

    let first = sender.send(&request(&url(&server))).await;
    assert_eq!(first.ruling.failure, None);
    assert_eq!(first.peer.map(|peer| peer.ip()), Some(IpAddr::from(GOOD)));
    assert!(first.timings.dns.is_some());
    let asked = names.asked();

    // From now on it leads inside. A connection that stands leads where it was dialled.
    names.now(Some(&[BAD]));
    for _ in 0..2 {
        let next = sender.send(&request(&url(&server))).await;
        assert_eq!((next.ruling.failure, next.reused), (None, true));
        assert_eq!(next.peer.map(|peer| peer.ip()), Some(IpAddr::from(GOOD)));
    }
    assert_eq!(names.asked(), asked);

    // Its receiver closed it: the next one would be dialled inside.
    let refused = sender.send(&request(&url(&server))).await;

    assert_eq!(failure(&refused), (BLOCKED, false));
    let reason = reason(&refused);
    for part in ["hooks.example", "127.0.0.1", "BUILDFLEET_WEBHOOK_ALLOW"] {
        assert!(reason.contains(part), "{reason}");
    }
    assert!(asked < names.asked());
    assert_eq!((server.requests().len(), inside.connections()), (3, 0));
}

fn close() -> Say {
    Say::Last("HTTP/1.1 204 X\r\nconnection: close\r\n\r\n".to_owned())
}

#[tokio::test]
async fn one_bad_address_among_good_ones_refuses_the_name() {
    let server = Server::start_at(GOOD.into(), [status(204)]).await;
    for addresses in [[GOOD, BAD], [BAD, GOOD]] {
        let names = NameServer::start(&addresses).await;

        let sent = names.sender().send(&request(&url(&server))).await;

        assert_eq!(failure(&sent), (BLOCKED, false));
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_an_operator_lists_may_lead_inside() {
    let server = Server::start_at(BAD.into(), [status(204)]).await;
    let names = NameServer::start(&[BAD]).await;
    let allowed = Allowed::read(&["hooks.example".to_owned()]).unwrap();
    let sender = sender(Settings { allowed, name_servers: vec![names.at], ..settings() });

    assert_eq!(sender.send(&request(&url(&server))).await.ruling.failure, None);
    let other = format!("http://other.example:{}/", server.at.port());
    assert_eq!(failure(&sender.send(&request(&other)).await), (BLOCKED, false));
}

#[tokio::test]
async fn a_name_that_is_not_there_may_be_there_later() {
    let server = Server::start_at(GOOD.into(), [status(204)]).await;
    let names = NameServer::start(&[]).await;
    let sender = names.sender();

    let sent = sender.send(&request(&url(&server))).await;

    assert_eq!(failure(&sent), ("not_resolved", true), "{}", reason(&sent));
    assert!(reason(&sent).contains("hooks.example"));
}

#[tokio::test]
async fn a_name_server_that_is_silent_holds_up_nobody_else() {
    let server = Server::start_at(GOOD.into(), [status(204)]).await;
    let names = NameServer::start(&[]).await;
    names.now(None);
    let allowed = Allowed::read(&[GOOD.to_string()]).unwrap();
    let time_limit = Duration::from_millis(400);
    let name_servers = vec![names.at];
    let sender = sender(Settings { allowed, time_limit, name_servers, ..settings() });
    let (by_name, by_address) =
        (request(&url(&server)), request(&format!("http://{}/", server.at)));

    let (silent, other) = tokio::join!(sender.send(&by_name), sender.send(&by_address));

    assert_eq!(failure(&silent), ("timed_out", true));
    assert!(silent.timings.total < Duration::from_millis(500), "{:?}", silent.timings);
    assert_eq!(other.ruling.failure, None);
    assert!(other.timings.total < Duration::from_millis(200), "{:?}", other.timings);
}
