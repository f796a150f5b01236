//! A client of HTTP/1.1 that is cheap: what it takes of the machine, those who are measured lack.
//!
//! One request at a time over one connection to this machine; answers of known length only.

use std::net::Ipv4Addr;

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// More than the head and the body of any answer here.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub async fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Headers end with a line break each. Answers with the status and the body.
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\
             {headers}\r\n"
        );
        self.stream.write_all(&[head.as_bytes(), body].concat()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        let head_end = loop {
            let end = self.read.windows(4).position(|four| four == b"\r\n\r\n");
            match end {
                Some(end) => break end,
                None => self.read_more().await?,
            }
        };
        let head = std::str::from_utf8(&self.read[..head_end])?;
        let status = head.get(9..12).context("no status")?.parse()?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        let length = match length {
            Some(length) => length?,
            None if status == 204 => 0,
            None => bail!("an answer without its length: {head}"),
        };
        let end = head_end + 4 + length;
        while self.read.len() < end {
            self.read_more().await?;
        }
        let body = self.read[head_end + 4..end].to_vec();
        self.read.drain(..end);
        Ok((status, body))
    }

    async fn read_more(&mut self) -> anyhow::Result<()> {
        ensure!(self.read.len() < ANSWER_BYTES_MAX, "the answer is too long");
        ensure!(0 < self.stream.read_buf(&mut self.read).await?, "the answer broke off");
        Ok(())
    }
}
