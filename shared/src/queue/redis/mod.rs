//! The queue of a fleet: a Redis stream for each lane, read by one group of consumers.
//!
//! Nothing in it is needed for good. Redis may be emptied, restarted, cut off or stalled at any
//! time; commands then answer with an error, the group is made again by whoever misses it, and the
//! relay brings the jobs. There is no lease here: the store's lease is the lease.
//!
//! Jobs are waited for by blocking reads, each on a connection of its own out of a pool, since a
//! blocking read holds up whatever else is on its connection. Notices are heard on one of their own
//! (`hearing.rs`). All else shares one connection. Which server they lead to is found in `node.rs`.

mod address;
mod hearing;
mod node;
mod scripts;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use redis::{
    ErrorKind, FromRedisValue, RedisError, RedisResult, ScriptInvocation,
    streams::{StreamAutoClaimReply, StreamId, StreamReadReply},
};
use tokio::{
    sync::{broadcast, oneshot},
    task::JoinSet,
    time::Instant,
};

pub(super) use self::address::check;
use self::{
    hearing::Hearing,
    node::{Node, Nodes},
    scripts::Scripts,
};
use super::{Error, Queue, Taken, WAITING_MOST};
use crate::{
    domain::id::HolderId,
    job::{Job, Lane, Notice},
};

/// The one group that reads a stream.
const GROUP: &str = "bf";
/// A Redis that is silent for longer is treated as one that is not there.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Jobs in one call of a script: a few milliseconds, in which Redis does nothing else.
const PUSH_MOST: usize = 1_000;
/// Consumers that have held nothing and asked for nothing for so long are of holders that are gone.
const GONE_AFTER: Duration = Duration::from_secs(3600);
/// The lane on whose node notices are told and heard. In a cluster, every node would do.
const NOTICES_AT: Lane = Lane::Tasks;

impl From<RedisError> for Error {
    fn from(source: RedisError) -> Self {
        Error { source: Box::new(source) }
    }
}

pub struct Redis {
    server: Server,
    /// Reads that wait, which outlive whoever asked, so that what they get then is put back.
    reads: Mutex<JoinSet<()>>,
    hearing: Hearing,
}

/// What commands need; cheap to clone.
#[derive(Clone)]
struct Server {
    nodes: Arc<Nodes>,
    scripts: Arc<Scripts>,
    prefix: Arc<str>,
    waiting_most: usize,
}

impl Redis {
    /// Opens the queue that a `REDIS_URL` names. Only a URL that cannot be
    /// understood, or whose certificates cannot be read, is an error: a server that is not there
    /// yet is waited for where it is used.
    pub async fn open(url: &str) -> Result<Self, Error> {
        Self::open_prefixed(url, "bf").await
    }

    /// Opens one of several queues on one server: all its keys begin with `{<prefix>:`.
    pub async fn open_prefixed(url: &str, prefix: &str) -> Result<Self, Error> {
        let keys = Lane::ALL.iter().map(|lane| stream(prefix, *lane)).collect();
        let nodes = Arc::new(Nodes::open(url, keys).await?);
        let hearing = Hearing::new(nodes.clone(), format!("{prefix}:notices"));
        let scripts = Arc::new(Scripts::new());
        let (prefix, waiting_most) = (prefix.into(), WAITING_MOST);
        let server = Server { nodes, scripts, prefix, waiting_most };
        Ok(Self { server, reads: Mutex::default(), hearing })
    }

    /// Lets `waiting_most` jobs wait in a lane, instead of `WAITING_MOST`.
    #[must_use]
    pub fn holding(mut self, waiting_most: usize) -> Self {
        self.server.waiting_most = waiting_most;
        self
    }

    /// Forgets holders that hold nothing and have not asked for anything for `gone_after`. Answers
    /// with how many. Taking over does this in passing.
    pub async fn remove_idle_holders(
        &self,
        lane: Lane,
        gone_after: Duration,
    ) -> Result<u64, Error> {
        let server = &self.server;
        let mut call = server.scripts.tidy.key(server.stream(lane));
        call.arg(GROUP).arg(gone_after.as_millis() as u64);
        Ok(server.call(lane, &call).await?)
    }
}

/// The entries of a lane. The braces keep the keys of a lane on one node of a cluster.
fn stream(prefix: &str, lane: Lane) -> String {
    format!("{{{prefix}:{lane}}}:s")
}

impl Server {
    fn stream(&self, lane: Lane) -> String {
        stream(&self.prefix, lane)
    }

    /// The newest entries by job; see `scripts/waiting.lua`.
    fn newest(&self, lane: Lane) -> String {
        format!("{{{}:{lane}}}:w", self.prefix)
    }

    async fn ask<T: FromRedisValue>(&self, lane: Lane, command: &redis::Cmd) -> RedisResult<T> {
        let node = self.nodes.of(lane).await?;
        let answer = command.query_async(&mut node.commands.clone()).await;
        self.nodes.judge(lane, &node, answer)
    }

    async fn call<T: FromRedisValue>(
        &self,
        lane: Lane,
        script: &ScriptInvocation<'_>,
    ) -> RedisResult<T> {
        let node = self.nodes.of(lane).await?;
        let answer = script.invoke_async(&mut node.commands.clone()).await;
        self.nodes.judge(lane, &node, answer)
    }

    /// Makes the group of a lane, and its stream, if they are missing. What is in the stream is
    /// then read from its beginning.
    async fn make_group(&self, lane: Lane) -> Result<(), RedisError> {
        let mut make = redis::cmd("XGROUP");
        make.arg("CREATE").arg(self.stream(lane)).arg(GROUP).arg("0").arg("MKSTREAM");
        match self.ask::<()>(lane, &make).await {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            other => other,
        }
    }

    async fn take(
        &self,
        lane: Lane,
        holder: HolderId,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<Taken>, Error> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.read(lane, holder, most, left).await {
                Ok(entries) => return self.understand(lane, entries).await,
                Err(error) if is_without_group(&error) => self.make_group(lane).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn read(
        &self,
        lane: Lane,
        holder: HolderId,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<StreamId>, RedisError> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(holder.to_string()).arg("COUNT").arg(most);
        // Zero would mean for ever.
        if wait.as_millis() > 0 {
            command.arg("BLOCK").arg(wait.as_millis() as u64);
        }
        command.arg("STREAMS").arg(self.stream(lane)).arg(">");

        let node = self.nodes.of(lane).await?;
        let result = self.read_from(&node, &command, wait).await;
        let reply = self.nodes.judge(lane, &node, result)?;
        Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect())
    }

    async fn read_from(
        &self,
        node: &Node,
        command: &redis::Cmd,
        wait: Duration,
    ) -> RedisResult<Option<StreamReadReply>> {
        let mut reader = node.reader().await?;
        let result =
            tokio::time::timeout(wait + ANSWER_WITHIN, command.query_async(&mut reader)).await;
        let result =
            result.unwrap_or_else(|_| Err(silent("no answer to a blocking read".to_owned())));
        if result.as_ref().is_err_and(|error| !is_without_group(error)) {
            // An answer may still come on this connection, to a question that nobody remembers.
            drop(deadpool_redis::Connection::take(reader));
        }
        result
    }

    /// Reads jobs out of entries. An entry that is no job is a bug of whoever put it in; it is
    /// removed so that it does not come again.
    async fn understand(&self, lane: Lane, entries: Vec<StreamId>) -> Result<Vec<Taken>, Error> {
        let mut taken = Vec::with_capacity(entries.len());
        let mut strange = Vec::new();
        for entry in entries {
            let text: Option<String> = entry.get("job");
            match text.as_deref().unwrap_or_default().parse::<Job>() {
                Ok(job) if job.lane() == lane => taken.push(Taken { job, receipt: entry.id }),
                _ => {
                    tracing::warn!(%lane, entry = entry.id, ?text, "no job of this lane; removed");
                    strange.push(entry.id);
                }
            }
        }
        if !strange.is_empty() {
            // What was taken is more important; the strange ones are found again by `take_over`.
            self.settle(&self.scripts.done, lane, &strange).await.ok();
        }
        Ok(taken)
    }

    async fn settle(
        &self,
        script: &redis::Script,
        lane: Lane,
        receipts: &[String],
    ) -> Result<(), Error> {
        for receipts in receipts.chunks(PUSH_MOST) {
            let mut call = script.key(self.stream(lane));
            call.key(self.newest(lane)).arg(GROUP).arg(receipts);
            self.call::<()>(lane, &call).await?;
        }
        Ok(())
    }

    async fn take_over(
        &self,
        lane: Lane,
        holder: HolderId,
        older_than: Duration,
        most: usize,
    ) -> Result<Vec<Taken>, Error> {
        let mut entries = Vec::new();
        let mut from = "0-0".to_owned();
        // Redis looks at ten times as many entries as it may give. What is held oldest comes first,
        // so a few rounds reach all that is old enough in any lane of sensible size.
        for _ in 0..8 {
            let mut claim = redis::cmd("XAUTOCLAIM");
            claim
                .arg(self.stream(lane))
                .arg(GROUP)
                .arg(holder.to_string())
                .arg(older_than.as_millis() as u64)
                .arg(from)
                .arg("COUNT")
                .arg(most - entries.len());
            let claimed = self.ask::<StreamAutoClaimReply>(lane, &claim).await;
            let claimed = match claimed {
                Err(error) if is_without_group(&error) => break,
                claimed => claimed?,
            };
            entries.extend(claimed.claimed);
            from = claimed.next_stream_id;
            if entries.len() >= most || from == "0-0" {
                break;
            }
        }
        self.understand(lane, entries).await
    }
}

/// The group, or the whole stream, is gone: Redis lost it, or it never was. A read that was waiting
/// when that happened is told so in other words.
fn is_without_group(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOGROUP" | "UNBLOCKED"))
}

fn silent(what: String) -> RedisError {
    RedisError::from((ErrorKind::Io, "Redis is silent", what))
}

#[async_trait]
impl Queue for Redis {
    async fn push(&self, jobs: &[Job]) -> Result<usize, Error> {
        let server = &self.server;
        let mut new = 0;
        for &lane in Lane::ALL {
            let of_lane: Vec<String> =
                jobs.iter().filter(|job| job.lane() == lane).map(Job::to_string).collect();
            for jobs in of_lane.chunks(PUSH_MOST) {
                let mut call = server.scripts.push.key(server.stream(lane));
                call.key(server.newest(lane)).arg(GROUP).arg(server.waiting_most).arg(jobs);
                new += server.call::<usize>(lane, &call).await?;
            }
        }
        Ok(new)
    }

    async fn take(
        &self,
        lane: Lane,
        holder: HolderId,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<Taken>, Error> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let (give, given) = oneshot::channel();
        let server = self.server.clone();
        {
            let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
            while reads.try_join_next().is_some() {}
            reads.spawn(async move {
                let taken = server.take(lane, holder, most, wait).await;
                if let Err(Ok(unwanted)) = give.send(taken) {
                    let receipts: Vec<_> = unwanted.into_iter().map(|one| one.receipt).collect();
                    server.settle(&server.scripts.put_back, lane, &receipts).await.ok();
                }
            });
        }
        given.await.unwrap_or_else(|_| Err(silent("the read broke off".to_owned()).into()))
    }

    async fn done(&self, lane: Lane, receipts: &[String]) -> Result<(), Error> {
        self.server.settle(&self.server.scripts.done, lane, receipts).await
    }

    async fn put_back(&self, lane: Lane, receipts: &[String]) -> Result<(), Error> {
        self.server.settle(&self.server.scripts.put_back, lane, receipts).await
    }

    async fn take_over(
        &self,
        lane: Lane,
        holder: HolderId,
        older_than: Duration,
        most: usize,
    ) -> Result<Vec<Taken>, Error> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let taken = self.server.take_over(lane, holder, older_than, most).await?;
        // A good moment, not a condition: what was taken over counts for more.
        self.remove_idle_holders(lane, GONE_AFTER).await.ok();
        Ok(taken)
    }

    async fn depth(&self, lane: Lane) -> Result<u64, Error> {
        let mut call = self.server.scripts.depth.key(self.server.stream(lane));
        call.arg(GROUP);
        Ok(self.server.call(lane, &call).await?)
    }

    async fn notify(&self, notices: &[Notice]) -> Result<(), Error> {
        if notices.is_empty() {
            return Ok(());
        }
        let lines: Vec<_> = notices.iter().map(Notice::to_string).collect();
        let mut tell = redis::cmd("PUBLISH");
        tell.arg(self.hearing.channel()).arg(lines.join("\n"));
        Ok(self.server.ask::<()>(NOTICES_AT, &tell).await?)
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.hearing.listen()
    }

    async fn ping(&self) -> Result<(), Error> {
        for &lane in Lane::ALL {
            self.server.ask::<()>(lane, &redis::cmd("PING")).await?;
        }
        Ok(())
    }
}
