//! A receiver that speaks HTTP/1.1 by hand, and may say whatever it likes.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What to do about a request.
#[derive(Debug, Clone)]
pub(super) enum Say {
    /// These bytes; the connection stays open.
    All(String),
    /// These bytes, then the connection is closed.
    Last(String),
    /// The first at once, then the second byte by byte, so far apart, for ever.
    Drip(&'static str, &'static str, Duration),
    /// The first, then zeros for ever.
    Flood(&'static str),
    Nothing,
}

pub(super) fn status(status: u16) -> Say {
    Say::All(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"))
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<String>>,
    script: Mutex<VecDeque<Say>>,
    connections: AtomicUsize,
    flooded: AtomicU64,
}

/// Listens until dropped.
pub(super) struct Server {
    pub(super) at: SocketAddr,
    seen: Arc<Seen>,
    _listening: JoinSet<()>,
}

impl Server {
    /// Says the script's words, one for each request; the last one is said again and again.
    pub(super) async fn start(script: impl IntoIterator<Item = Say>) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), script).await
    }

    pub(super) async fn start_at(at: IpAddr, script: impl IntoIterator<Item = Say>) -> Self {
        let listener = TcpListener::bind((at, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let script = Mutex::new(script.into_iter().collect());
        let seen = Arc::new(Seen { script, ..Seen::default() });
        let mut listening = JoinSet::new();
        let shared = Arc::clone(&seen);
        listening.spawn(async move {
            let mut talking = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                talking.spawn(async move {
                    // A sender that goes away in the middle is what some tests are about.
                    let _gone = talk(stream, &shared).await;
                });
            }
        });
        Self { at, seen, _listening: listening }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hooks?a=b", self.at)
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The bytes of floods that were taken from it.
    pub(super) fn flooded(&self) -> u64 {
        self.seen.flooded.load(Ordering::SeqCst)
    }
}

async fn talk(mut stream: TcpStream, seen: &Seen) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        // All requests of these tests have the same two bytes for a body.
        let end = loop {
            if let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n")
                && head + 6 <= bytes.len()
            {
                break head + 6;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        let request = bytes.drain(..end).collect();
        seen.requests.lock().unwrap().push(String::from_utf8(request).unwrap());
        let say = {
            let mut script = seen.script.lock().unwrap();
            if 1 < script.len() { script.pop_front() } else { script.front().cloned() }
        };
        match say.unwrap() {
            Say::All(words) => stream.write_all(words.as_bytes()).await?,
            Say::Last(words) => {
                stream.write_all(words.as_bytes()).await?;
                return stream.shutdown().await;
            }
            Say::Drip(head, drop, apart) => {
                stream.set_nodelay(true)?;
                stream.write_all(head.as_bytes()).await?;
                for byte in drop.bytes().cycle() {
                    tokio::time::sleep(apart).await;
                    stream.write_all(&[byte]).await?;
                }
            }
            Say::Flood(head) => {
                stream.write_all(head.as_bytes()).await?;
                let zeros = vec![b'0'; 16 * 1024];
                loop {
                    let written = stream.write(&zeros).await?;
                    seen.flooded.fetch_add(written as u64, Ordering::SeqCst);
                }
            }
            Say::Nothing => std::future::pending().await,
        }
    }
}
