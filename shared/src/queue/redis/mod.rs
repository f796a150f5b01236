//! The queue of a fleet: a Redis stream for each lane, read by one group of consumers.
//!
//! Nothing in it is needed for good. Redis may be emptied, restarted, cut off or stalled at any
//! time; commands then answer with an error, the group is made again by whoever misses it, and the
//! relay brings the jobs. There is no lease here: the store's lease is the lease.
//!
//! Jobs are waited for by blocking reads, each on a connection of its own out of a pool, since a
//! blocking read holds up whatever else is on its connection. Notices are heard on one of their own
//! (`hearing.rs`). All else shares one connection.

mod hearing;
mod scripts;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
    streams::{StreamAutoClaimReply, StreamId, StreamReadReply},
};
use tokio::{
    sync::{broadcast, oneshot},
    task::JoinSet,
    time::Instant,
};

use self::{hearing::Hearing, scripts::Scripts};
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
/// More than any program has lanes; tests run several programs on one queue.
const READERS_MOST: usize = 32;
/// Jobs in one call of a script: a few milliseconds, in which Redis does nothing else.
const PUSH_MOST: usize = 1_000;
/// Consumers that have held nothing and asked for nothing for so long are of holders that are gone.
const GONE_AFTER: Duration = Duration::from_secs(3600);

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
    commands: ConnectionManager,
    readers: deadpool_redis::Pool,
    scripts: Arc<Scripts>,
    prefix: Arc<str>,
}

impl Redis {
    /// Opens the queue that a `redis:` or `rediss:` URL names. Only a URL that cannot be understood
    /// is an error: a server that is not there yet is waited for where it is used.
    pub async fn open(url: &str) -> Result<Self, Error> {
        Self::open_prefixed(url, "bf").await
    }

    /// Opens one of several queues on one server: all its keys begin with `{<prefix>:`.
    #[expect(clippy::unused_async, reason = "connecting needs a runtime, which async promises")]
    pub async fn open_prefixed(url: &str, prefix: &str) -> Result<Self, Error> {
        let client = Client::open(url)?;
        let hearing = Hearing::new(client.clone(), format!("{prefix}:notices"));
        let commands = ConnectionManager::new_lazy_with_config(
            client,
            // Whoever calls waits and tries again; retries in here would only blur that.
            ConnectionManagerConfig::new()
                .set_number_of_retries(1)
                .set_min_delay(Duration::from_millis(50))
                .set_max_delay(Duration::from_millis(500))
                .set_connection_timeout(Some(CONNECT_WITHIN))
                .set_response_timeout(Some(ANSWER_WITHIN)),
        )?;
        // How long a blocking read lasts is said with each of them.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(None);
        let readers =
            deadpool_redis::Pool::builder(deadpool_redis::Manager::new_with_config(url, config)?)
                .runtime(deadpool_redis::Runtime::Tokio1)
                .max_size(READERS_MOST)
                .wait_timeout(Some(ANSWER_WITHIN))
                .create_timeout(Some(ANSWER_WITHIN))
                .recycle_timeout(Some(CONNECT_WITHIN))
                .build()
                .map_err(|source| Error { source: Box::new(source) })?;
        let scripts = Arc::new(Scripts::new());
        let server = Server { commands, readers, scripts, prefix: prefix.into() };
        Ok(Self { server, reads: Mutex::default(), hearing })
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
        Ok(call.invoke_async(&mut server.commands.clone()).await?)
    }
}

impl Server {
    /// The entries of a lane. The braces keep the keys of a lane on one node of a cluster.
    fn stream(&self, lane: Lane) -> String {
        format!("{{{}:{lane}}}:s", self.prefix)
    }

    /// The newest entries by job; see `scripts/waiting.lua`.
    fn newest(&self, lane: Lane) -> String {
        format!("{{{}:{lane}}}:w", self.prefix)
    }

    /// Makes the group of a lane, and its stream, if they are missing. What is in the stream is
    /// then read from its beginning.
    async fn make_group(&self, lane: Lane) -> Result<(), RedisError> {
        let made: Result<(), RedisError> = redis::cmd("XGROUP")
            .arg("CREATE")
            .arg(self.stream(lane))
            .arg(GROUP)
            .arg("0")
            .arg("MKSTREAM")
            .query_async(&mut self.commands.clone())
            .await;
        match made {
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

        let mut reader = self.readers.get().await.map_err(|error| match error {
            deadpool_redis::PoolError::Backend(error) => error,
            other => silent(other.to_string()),
        })?;
        let reading = command.query_async::<Option<StreamReadReply>>(&mut reader);
        let result = match tokio::time::timeout(wait + ANSWER_WITHIN, reading).await {
            Ok(result) => result,
            Err(_) => Err(silent("no answer to a blocking read".to_owned())),
        };
        if result.as_ref().is_err_and(|error| !is_without_group(error)) {
            // An answer may still come on this connection, to a question that nobody remembers.
            drop(deadpool_redis::Connection::take(reader));
        }
        Ok(result?.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect())
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
            call.invoke_async::<()>(&mut self.commands.clone()).await?;
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
            let claimed = redis::cmd("XAUTOCLAIM")
                .arg(self.stream(lane))
                .arg(GROUP)
                .arg(holder.to_string())
                .arg(older_than.as_millis() as u64)
                .arg(from)
                .arg("COUNT")
                .arg(most - entries.len())
                .query_async::<StreamAutoClaimReply>(&mut self.commands.clone())
                .await;
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
        for lane in [Lane::Plans, Lane::Tasks, Lane::Deliveries] {
            let of_lane: Vec<String> =
                jobs.iter().filter(|job| job.lane() == lane).map(Job::to_string).collect();
            for jobs in of_lane.chunks(PUSH_MOST) {
                let mut call = server.scripts.push.key(server.stream(lane));
                call.key(server.newest(lane)).arg(GROUP).arg(WAITING_MOST).arg(jobs);
                new += call.invoke_async::<usize>(&mut server.commands.clone()).await?;
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
        Ok(call.invoke_async(&mut self.server.commands.clone()).await?)
    }

    async fn notify(&self, notices: &[Notice]) -> Result<(), Error> {
        if notices.is_empty() {
            return Ok(());
        }
        let mut all = redis::pipe();
        for notice in notices {
            all.publish(self.hearing.channel(), notice.to_string()).ignore();
        }
        Ok(all.query_async::<()>(&mut self.server.commands.clone()).await?)
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.hearing.listen()
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(redis::cmd("PING").query_async::<()>(&mut self.server.commands.clone()).await?)
    }
}
