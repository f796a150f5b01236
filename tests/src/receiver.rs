//! A receiver of webhooks: it keeps every request as it came in, and answers as it is told to.
//!
//! It speaks HTTP/1.1 by hand, so that it can be as rude as receivers are: silent, slow, or gone.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// One request, byte for byte.
#[derive(Debug, Clone)]
pub struct Request {
    pub line: String,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header that has to be there, once.
    pub fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(other, _)| other == name);
        let (_, value) = found.next().unwrap_or_else(|| panic!("no header {name}: {self:?}"));
        assert!(found.next().is_none(), "{name} came twice: {self:?}");
        value
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("webhooks are JSON")
    }

    /// The type of the event that it tells.
    pub fn kind(&self) -> String {
        self.json()["type"].as_str().expect("an envelope has a type").to_owned()
    }
}

/// How to treat a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Status(u16),
    Redirect(String),
    /// Says nothing and keeps the connection open.
    Hang,
    /// Begins an answer and never comes to its end.
    Drip,
    /// Reads the request and closes the connection.
    Close,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Request>>,
    replies: Mutex<VecDeque<Reply>>,
    /// What is answered when no reply is left; 200 if nothing is set.
    always: Mutex<Option<Reply>>,
}

pub struct Receiver {
    port: u16,
    shared: Arc<Shared>,
    _listening: JoinSet<()>,
}

impl Receiver {
    /// Listens on a port of this machine, until dropped.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let shared = Arc::new(Shared::default());
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, Arc::clone(&shared)));
        Self { port, shared, _listening: listening }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hooks", self.port)
    }

    /// Treats the next requests like this; those after them are answered with 200.
    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.replies.lock().unwrap().extend(replies);
    }

    /// Treats all requests like this for which nothing else was said.
    pub fn always(&self, reply: Reply) {
        *self.shared.always.lock().unwrap() = Some(reply);
    }

    /// All that came in, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub fn kinds(&self) -> Vec<String> {
        self.requests().iter().map(Request::kind).collect()
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A sender that goes away in the middle has said all it wanted to.
            let _gone = talk(stream, &shared).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn talk(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let request = read(&mut stream).await?;
    shared.requests.lock().unwrap().push(request);
    let next = shared.replies.lock().unwrap().pop_front();
    let reply = next.or_else(|| shared.always.lock().unwrap().clone());
    match reply.unwrap_or(Reply::Status(200)) {
        Reply::Status(status) => {
            answer(&mut stream, status, "", &format!("answered {status}")).await
        }
        Reply::Redirect(to) => answer(&mut stream, 302, &format!("location: {to}\r\n"), "").await,
        Reply::Hang => std::future::pending().await,
        Reply::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await?;
            loop {
                stream.write_all(b".").await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Reply::Close => Ok(()),
    }
}

async fn answer(
    stream: &mut TcpStream,
    status: u16,
    headers: &str,
    body: &str,
) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

async fn read(stream: &mut TcpStream) -> std::io::Result<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).expect("heads are ASCII");
    let mut lines = text.split("\r\n").map(str::to_owned);
    let line = lines.next().unwrap_or_default();
    let headers: Vec<(String, String)> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a header has a colon");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect();
    let length: usize = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().expect("a length is a number"));
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Request { line, headers, body })
}
