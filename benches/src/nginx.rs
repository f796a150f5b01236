//! A receiver of webhooks that costs next to nothing: nginx, which answers `204` to everything.
//!
//! It is the one of the system (`apt-get install nginx-light`, `brew install nginx`), with the
//! settings it comes with: so a connection is closed by it after 1,000 requests.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{http::Connection, process};

const UP_WITHIN: Duration = Duration::from_secs(10);

/// Listens on a port of its own, until dropped.
pub struct Nginx {
    server: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

/// What it has seen so far, of others than those who ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub connections: u64,
    pub requests: u64,
}

impl Nginx {
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let settings = format!(
            "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr error;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\n  access_log off;\n  client_body_temp_path bodies;\n  \
             proxy_temp_path p;\n  fastcgi_temp_path f;\n  uwsgi_temp_path u;\n  \
             scgi_temp_path s;\n  server {{\n    listen 127.0.0.1:{port} backlog=4096;\n    \
             location / {{ return 204; }}\n    location = /seen {{ stub_status; }}\n  }}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, settings)?;
        let server = Command::new(program())
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("nginx; install it (Debian: nginx-light, macOS: brew install nginx)")?;
        let nginx = Self { server, port, _folder: folder };
        let until = Instant::now() + UP_WITHIN;
        while nginx.status().await.is_err() {
            if until < Instant::now() {
                bail!("nginx did not come up on port {port}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(nginx)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Processor time it took so far, in seconds.
    pub fn cpu(&self) -> Option<f64> {
        process::cpu(self.server.id())
    }

    /// What it has seen, and the one who asked now.
    pub async fn status(&self) -> anyhow::Result<Seen> {
        let mut connection = Connection::open(self.port).await?;
        let (_, body) = connection.request("GET", "/seen", "connection: close\r\n", b"").await?;
        let text = String::from_utf8(body)?;
        // A line of words, then `accepts handled requests`.
        let counts = text.lines().nth(2).context("nginx says nothing of what it has seen")?;
        let counts: Vec<u64> = counts.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let [connections, _, requests] = counts[..] else { bail!("nginx says {text:?}") };
        Ok(Seen { connections, requests })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// On Debian it is not on the path of everybody.
fn program() -> &'static str {
    let debian = "/usr/sbin/nginx";
    if fs::exists(debian).unwrap_or(false) { debian } else { "nginx" }
}

/// A port that nobody listened on just now.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
