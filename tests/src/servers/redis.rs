//! A Redis server of its own for a test, which may be treated as badly as need be.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::FromRedisValue;

/// How long a server may take to come up. Far longer than it does on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(30);

/// Listens on a port of its own and keeps its files in a folder of its own, until dropped.
pub struct Redis {
    port: u16,
    folder: tempfile::TempDir,
    /// What it is started with, each time.
    arguments: Vec<String>,
    server: Option<Child>,
}

impl Redis {
    pub fn start() -> Self {
        Self::start_with(|_| Vec::new())
    }

    /// Starts one with more arguments, of which some may depend on its folder.
    pub fn start_with(more: impl Fn(&Path) -> Vec<String>) -> Self {
        Self::launch(|port, folder| {
            let mut arguments = vec!["--port".to_owned(), port.to_string()];
            let plain = "--bind 127.0.0.1 --save '' --appendonly no --loglevel warning";
            arguments.extend(plain.split(' ').map(|word| word.trim_matches('\'').to_owned()));
            arguments.extend(["--dir".to_owned(), folder.display().to_string()]);
            arguments.extend(more(folder));
            arguments
        })
    }

    /// Starts a sentinel that watches the server at `port` as the service `main`, alone, and is
    /// quick to judge.
    pub fn start_sentinel(watched: u16) -> Self {
        Self::launch(|port, folder| {
            let settings = folder.join("sentinel.conf");
            let text = format!(
                "port {port}\nbind 127.0.0.1\nloglevel warning\ndir {}\n\
                 sentinel monitor main 127.0.0.1 {watched} 1\n\
                 sentinel down-after-milliseconds main 500\n\
                 sentinel failover-timeout main 2000\n",
                folder.display()
            );
            std::fs::write(&settings, text).expect("a file in a folder of ours");
            vec![settings.display().to_string(), "--sentinel".to_owned()]
        })
    }

    fn launch(arguments: impl Fn(u16, &Path) -> Vec<String>) -> Self {
        // Somebody else may take a free port between asking for it and using it.
        for _ in 0..10 {
            let folder = tempfile::tempdir().expect("a folder for the server");
            let port = free_port();
            let arguments = arguments(port, folder.path());
            let mut redis = Self { port, folder, arguments, server: None };
            if redis.try_up() {
                return redis;
            }
        }
        panic!("redis-server came up on none of ten free ports");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Runs one command on a new connection.
    pub fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.ask(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The same, where an error is an answer too.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        ask(self.port, words)
    }

    /// A connection for several commands.
    pub fn connection(&self) -> redis::Connection {
        connect(self.port).unwrap_or_else(|error| panic!("port {}: {error}", self.port))
    }

    /// Lets the server end as it likes to, and waits for that.
    pub fn shut_down(&mut self) {
        let mut server = self.server.take().expect("the server is up");
        // It ends without an answer.
        self.ask::<()>(&["SHUTDOWN", "NOSAVE"]).ok();
        server.wait().expect("our own child can be waited for");
    }

    /// Ends the server at once, as a power cut would. What it held is lost.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("our own child can be killed");
            server.wait().expect("our own child can be waited for");
        }
    }

    /// Brings a killed server up again, empty, on the same port.
    pub fn up(&mut self) {
        assert!(self.server.is_none(), "the server is up");
        assert!(self.try_up(), "redis-server did not come up again on port {}", self.port);
    }

    /// Stops the server from doing anything, while its connections stay open, until `resume`.
    pub fn stall(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let server = self.server.as_ref().expect("the server is up");
        let done = Command::new("kill").args([signal, &server.id().to_string()]).status();
        assert!(done.is_ok_and(|status| status.success()), "kill {signal}");
    }

    /// Answers whether the server came up; if not, it has ended.
    fn try_up(&mut self) -> bool {
        let server = Command::new("redis-server")
            .args(&self.arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("redis-server: {error}; install Redis 7 (Debian: redis-server)")
            });
        let server = self.server.insert(server);
        let pid = server.id().to_string();
        let deadline = Instant::now() + UP_WITHIN;
        loop {
            if server.try_wait().expect("our own child can be asked").is_some() {
                self.server = None;
                return false;
            }
            // Somebody else's server may listen there.
            let info: redis::RedisResult<String> = ask(self.port, &["INFO", "server"]);
            if info.is_ok_and(|info| info.contains(&format!("process_id:{pid}\r\n"))) {
                return true;
            }
            assert!(Instant::now() < deadline, "redis-server did not come up within {UP_WITHIN:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            server.kill().ok();
            server.wait().ok();
        }
    }
}

fn connect(port: u16) -> redis::RedisResult<redis::Connection> {
    redis::Client::open(format!("redis://127.0.0.1:{port}/"))?
        .get_connection_with_timeout(Duration::from_secs(5))
}

fn ask<T: FromRedisValue>(port: u16, words: &[&str]) -> redis::RedisResult<T> {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.query(&mut connect(port)?)
}

pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}
