//! The queue of a fleet: for each lane a list of jobs that wait in Redis, and a note of what was
//! taken.
//!
//! Nothing in it is needed for good. Redis may be emptied, restarted, cut off or stalled at any
//! time; commands then answer with an error, and whoever claims looks by himself. There is no lease
//! here: the store's lease is the lease.
//!
//! Who finds nothing to take waits for the bell of the lane, which is rung by whoever puts
//! something in. That holds up whatever else is on its connection, so it has one of its own out of
//! a pool. Notices are heard on one of their own (`hearing.rs`). All else shares one connection.
//! Which server they lead to is found in `node.rs`.

mod address;
mod hearing;
mod node;
mod scripts;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use redis::{ErrorKind, FromRedisValue, RedisError, RedisResult, Script, ScriptInvocation};
use tokio::{
    sync::{broadcast, oneshot},
    task::JoinSet,
    time::Instant,
};

pub(super) use self::address::check;
use self::{hearing::Hearing, node::Nodes, scripts::Scripts};
use super::{Error, Queue, Taken, WAITING_MOST};
use crate::{
    domain::id::HolderId,
    job::{Job, Lane, Notice},
};

/// A Redis that is silent for longer is treated as one that is not there.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Jobs in one call of a script: a few milliseconds, in which Redis does nothing else. The scripts
/// rely on it, since Lua hands on no more than 8,000 words at a time.
const CALL_MOST: usize = 1_000;
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
    /// Opens the queue that a `REDIS_URL` names. Only a URL that cannot be understood, or whose
    /// certificates cannot be read, is an error: a server that is not there yet is waited for where
    /// it is used.
    pub async fn open(url: &str) -> Result<Self, Error> {
        Self::open_prefixed(url, "bf").await
    }

    /// Opens one of several queues on one server: all its keys begin with `{<prefix>:`.
    pub async fn open_prefixed(url: &str, prefix: &str) -> Result<Self, Error> {
        let keys = Lane::ALL.iter().map(|lane| key(prefix, *lane, 'q')).collect();
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
}

/// A key of a lane; `scripts/lane.lua` says which there are. The braces keep all keys of a lane on
/// one node of a cluster.
fn key(prefix: &str, lane: Lane, which: char) -> String {
    format!("{{{prefix}:{lane}}}:{which}")
}

impl Server {
    fn key(&self, lane: Lane, which: char) -> String {
        key(&self.prefix, lane, which)
    }

    /// A script with the keys of a lane.
    fn script<'a>(&self, script: &'a Script, lane: Lane) -> ScriptInvocation<'a> {
        let mut call = script.key(self.key(lane, 'q'));
        call.key(self.key(lane, 'm')).key(self.key(lane, 'h')).key(self.key(lane, 'b'));
        call
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

    /// Takes what is there; waits if there is nothing.
    async fn take(&self, lane: Lane, most: usize, wait: Duration) -> Result<Vec<Taken>, Error> {
        let until = Instant::now() + wait;
        loop {
            let mut receipts = self.take_at_once(lane, most).await?;
            let left = until.saturating_duration_since(Instant::now());
            // Zero would mean for ever, and Redis counts whole milliseconds.
            if receipts.is_empty() && left.as_millis() > 0 {
                match self.take_when_rung(lane, most.min(CALL_MOST), left).await {
                    // Redis forgot the script, which is told anew by taking at once.
                    Err(error) if error.code() == Some("NOSCRIPT") => continue,
                    late => receipts = late?,
                }
            }
            return self.understand(lane, receipts).await;
        }
    }

    async fn take_at_once(&self, lane: Lane, most: usize) -> RedisResult<Vec<String>> {
        let mut receipts: Vec<String> = Vec::new();
        while receipts.len() < most {
            let wanted = (most - receipts.len()).min(CALL_MOST);
            let mut call = self.script(&self.scripts.take, lane);
            match self.call::<Vec<String>>(lane, call.arg(wanted)).await {
                Ok(some) => {
                    let is_last = some.len() < wanted;
                    receipts.extend(some);
                    if is_last {
                        break;
                    }
                }
                // What was taken is not to be lost; the next call will say the same again.
                Err(_) if !receipts.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(receipts)
    }

    /// Takes when the bell of the lane is rung, or the time is over. Both go to Redis in one
    /// message, so that who is woken has the jobs at once.
    async fn take_when_rung(
        &self,
        lane: Lane,
        most: usize,
        wait: Duration,
    ) -> RedisResult<Vec<String>> {
        let mut call = self.script(&self.scripts.take, lane);
        let mut asking = redis::pipe();
        asking.cmd("BLPOP").arg(self.key(lane, 'b')).arg(wait.as_secs_f64()).ignore();
        asking.invoke_script(call.arg(most));

        let node = self.nodes.of(lane).await?;
        let taking = async {
            let mut reader = node.reader().await?;
            let answer = asking.query_async::<(Vec<String>,)>(&mut reader);
            let taken = tokio::time::timeout(wait + ANSWER_WITHIN, answer)
                .await
                .unwrap_or_else(|_| Err(silent("no answer to a blocking read".to_owned())));
            if taken.is_err() {
                // An answer may still come on this connection, to a question that nobody remembers.
                drop(deadpool_redis::Connection::take(reader));
            }
            taken
        };
        let taken = taking.await;
        let (receipts,) = self.nodes.judge(lane, &node, taken)?;
        Ok(receipts)
    }

    /// Reads jobs out of receipts. What is no job is a bug of whoever put it in; it is forgotten,
    /// so that it does not come again.
    async fn understand(&self, lane: Lane, receipts: Vec<String>) -> Result<Vec<Taken>, Error> {
        let mut taken = Vec::with_capacity(receipts.len());
        let mut strange = Vec::new();
        for receipt in receipts {
            let text = receipt.split_once(' ').map(|(_, job)| job).unwrap_or_default();
            match text.parse::<Job>() {
                Ok(job) if job.lane() == lane => taken.push(Taken { job, receipt }),
                _ => {
                    tracing::warn!(%lane, receipt, "no job of this lane; removed");
                    strange.push(receipt);
                }
            }
        }
        if !strange.is_empty() {
            // What was taken is more important; the strange ones are found again by `take_over`.
            self.done(lane, &strange).await.ok();
        }
        Ok(taken)
    }

    async fn done(&self, lane: Lane, receipts: &[String]) -> RedisResult<()> {
        for receipts in receipts.chunks(CALL_MOST) {
            let mut forget = redis::cmd("ZREM");
            self.ask::<()>(lane, forget.arg(self.key(lane, 'h')).arg(receipts)).await?;
        }
        Ok(())
    }

    async fn put_back(&self, lane: Lane, receipts: &[String]) -> RedisResult<()> {
        for receipts in receipts.chunks(CALL_MOST) {
            let mut call = self.script(&self.scripts.put_back, lane);
            self.call::<()>(lane, call.arg(receipts)).await?;
        }
        Ok(())
    }
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
            for jobs in of_lane.chunks(CALL_MOST) {
                let mut call = server.script(&server.scripts.push, lane);
                call.arg(server.waiting_most).arg(jobs);
                new += server.call::<usize>(lane, &call).await?;
            }
        }
        Ok(new)
    }

    async fn take(
        &self,
        lane: Lane,
        _holder: HolderId,
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
                let taken = server.take(lane, most, wait).await;
                if let Err(Ok(unwanted)) = give.send(taken) {
                    let receipts: Vec<_> = unwanted.into_iter().map(|one| one.receipt).collect();
                    server.put_back(lane, &receipts).await.ok();
                }
            });
        }
        given.await.unwrap_or_else(|_| Err(silent("the read broke off".to_owned()).into()))
    }

    async fn done(&self, lane: Lane, receipts: &[String]) -> Result<(), Error> {
        Ok(self.server.done(lane, receipts).await?)
    }

    async fn put_back(&self, lane: Lane, receipts: &[String]) -> Result<(), Error> {
        Ok(self.server.put_back(lane, receipts).await?)
    }

    async fn take_over(
        &self,
        lane: Lane,
        _holder: HolderId,
        older_than: Duration,
        most: usize,
    ) -> Result<Vec<Taken>, Error> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let server = &self.server;
        let mut call = server.script(&server.scripts.take_over, lane);
        call.arg(older_than.as_millis() as u64).arg(most.min(CALL_MOST));
        let receipts = server.call(lane, &call).await?;
        server.understand(lane, receipts).await
    }

    async fn depth(&self, lane: Lane) -> Result<u64, Error> {
        let mut count = redis::cmd("LLEN");
        Ok(self.server.ask(lane, count.arg(self.server.key(lane, 'q'))).await?)
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
