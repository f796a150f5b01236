//! Finds the server on which a lane is, and keeps the ways to it.
//!
//! All keys of a lane are on one node, so that a cluster is to a lane what a single server is, only
//! at an address that has to be asked for, and that changes. The same goes for the master that
//! sentinels tell of. Whenever a server answers strangely, or not at all, all ways to it are given
//! up and it is looked for again: no errors are told apart that need not be.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, FromRedisValue, RedisError,
    RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::time::Instant;

use super::{
    ANSWER_WITHIN, CONNECT_WITHIN,
    address::{self, Address, Kind},
    silent,
};
use crate::{job::Lane, queue::Error};

/// More than any program has lanes; tests run several programs on one queue.
const READERS_MOST: usize = 32;

/// A server, and the ways to it.
pub(super) struct Node {
    pub(super) client: Client,
    /// Shared by all commands that do not wait.
    pub(super) commands: MultiplexedConnection,
    /// One for each command that does.
    pub(super) readers: deadpool_redis::Pool,
}

impl Node {
    async fn connect(client: Client) -> RedisResult<Self> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        let commands = client.get_multiplexed_async_connection_with_config(&config).await?;
        // How long a blocking read lasts is said with each of them.
        let config = config.set_response_timeout(None);
        let info = client.get_connection_info().clone();
        let readers =
            deadpool_redis::Pool::builder(deadpool_redis::Manager::new_with_config(info, config)?)
                .runtime(deadpool_redis::Runtime::Tokio1)
                .max_size(READERS_MOST)
                .wait_timeout(Some(ANSWER_WITHIN))
                .create_timeout(Some(ANSWER_WITHIN))
                .recycle_timeout(Some(CONNECT_WITHIN))
                .build()
                .map_err(|error| silent(error.to_string()))?;
        Ok(Self { client, commands, readers })
    }

    pub(super) async fn reader(&self) -> RedisResult<deadpool_redis::Connection> {
        self.readers.get().await.map_err(|error| match error {
            deadpool_redis::PoolError::Backend(error) => error,
            other => silent(other.to_string()),
        })
    }
}

/// The nodes of all lanes.
pub(super) struct Nodes {
    address: Address,
    /// A key of each lane, in the order of `Lane::ALL`.
    keys: Vec<String>,
    /// One for each lane in a cluster, else one for all.
    places: Vec<Place>,
    /// Nodes of the cluster that were heard of, to be asked besides those of the address.
    heard_of: Mutex<Vec<ConnectionInfo>>,
}

#[derive(Default)]
struct Place {
    node: RwLock<Option<Arc<Node>>>,
    /// Held while the node is looked for; in it, when it was last looked for in vain.
    search: tokio::sync::Mutex<Option<(Instant, RedisError)>>,
}

impl Place {
    fn node(&self) -> Option<Arc<Node>> {
        self.node.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, node: Option<Arc<Node>>) {
        *self.node.write().unwrap_or_else(PoisonError::into_inner) = node;
    }
}

impl Nodes {
    /// Asks nobody yet. `keys` are one of each lane, in the order of `Lane::ALL`.
    pub(super) async fn open(url: &str, keys: Vec<String>) -> Result<Self, Error> {
        let address = Address::open(url).await?;
        let places = if matches!(address.kind, Kind::Cluster) { keys.len() } else { 1 };
        let places = (0..places).map(|_| Place::default()).collect();
        Ok(Self { address, keys, places, heard_of: Mutex::default() })
    }

    fn index(lane: Lane) -> usize {
        Lane::ALL.iter().position(|one| *one == lane).unwrap_or_default()
    }

    fn place(&self, lane: Lane) -> &Place {
        &self.places[Self::index(lane).min(self.places.len() - 1)]
    }

    /// The node of a lane, which is looked for if it is not known.
    pub(super) async fn of(&self, lane: Lane) -> RedisResult<Arc<Node>> {
        let place = self.place(lane);
        if let Some(node) = place.node() {
            return Ok(node);
        }
        let begun = Instant::now();
        let mut in_vain = place.search.lock().await;
        if let Some(node) = place.node() {
            return Ok(node);
        }
        // Many may have waited for one who looked in vain. Each of them would only look as long
        // again.
        if let Some((at, error)) = &*in_vain
            && *at >= begun
        {
            return Err(error.clone());
        }
        match self.find(lane).await {
            Ok(node) => {
                let node = Arc::new(node);
                place.set(Some(node.clone()));
                Ok(node)
            }
            Err(error) => {
                *in_vain = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Takes note of what a node answered. After an error that may be due to the node or to the way
    /// to it, it is looked for anew by whoever needs it next.
    pub(super) fn judge<T>(
        &self,
        lane: Lane,
        node: &Arc<Node>,
        result: RedisResult<T>,
    ) -> RedisResult<T> {
        if result.as_ref().is_err_and(|error| !is_of_the_right_node(error)) {
            self.give_up(lane, node);
        }
        result
    }

    pub(super) fn give_up(&self, lane: Lane, node: &Arc<Node>) {
        if self.is(lane, node) {
            self.place(lane).set(None);
        }
    }

    /// Answers whether this is still the node of the lane, as far as is known.
    pub(super) fn is(&self, lane: Lane, node: &Arc<Node>) -> bool {
        self.place(lane).node().is_some_and(|now| Arc::ptr_eq(&now, node))
    }

    async fn find(&self, lane: Lane) -> RedisResult<Node> {
        match &self.address.kind {
            Kind::Server => Node::connect(Client::open(self.address.nodes[0].clone())?).await,
            Kind::Cluster => {
                let info = self.of_cluster(&self.keys[Self::index(lane)]).await?;
                Node::connect(Client::open(info)?).await
            }
            Kind::Sentinel { service, login } => {
                let info = self.master(service).await?.set_redis_settings(login.clone());
                let node = Node::connect(Client::open(info)?).await?;
                // Sentinels may be behind, and a server that lost its office is the last to know.
                let role: Vec<Value> =
                    redis::cmd("ROLE").query_async(&mut node.commands.clone()).await?;
                match role.into_iter().next().map(String::from_redis_value) {
                    Some(Ok(role)) if role == "master" => Ok(node),
                    _ => Err(unknown(format!("the server of {service} is no master"))),
                }
            }
        }
    }

    /// Where the sentinels say that the master of a service is.
    async fn master(&self, service: &str) -> RedisResult<ConnectionInfo> {
        let mut last = unknown(format!("no sentinel knows {service}"));
        for sentinel in &self.address.nodes {
            let mut asking = redis::cmd("SENTINEL");
            asking.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
            match ask_once::<Option<(String, u16)>>(sentinel, &asking).await {
                Ok(Some((host, port))) => return Ok(address::at(sentinel, Some(host), port)),
                Ok(None) => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Where the first node of the cluster that answers says that a key is.
    async fn of_cluster(&self, key: &str) -> RedisResult<ConnectionInfo> {
        let mut asked = self.address.nodes.clone();
        let heard_of = self.heard_of.lock().unwrap_or_else(PoisonError::into_inner).clone();
        asked.extend(
            heard_of
                .into_iter()
                .filter(|node| !self.address.nodes.iter().any(|one| one.addr() == node.addr())),
        );
        let mut last = unknown("no node of the cluster answered".to_owned());
        for node in &asked {
            let (slot, ranges) = match ask_slots(node, key).await {
                Ok(answer) => answer,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let all = ranges.iter().flat_map(|range| range.nodes(node)).collect();
            *self.heard_of.lock().unwrap_or_else(PoisonError::into_inner) = all;
            match ranges.iter().find(|range| (range.first..=range.last).contains(&slot)) {
                Some(range) => {
                    if let Some(master) = range.nodes(node).next() {
                        return Ok(master);
                    }
                }
                None => last = unknown(format!("no node of the cluster has slot {slot}")),
            }
        }
        Err(last)
    }
}

/// Slots of a cluster, and who has them: the master first.
struct Range {
    first: u16,
    last: u16,
    nodes: Vec<(Option<String>, u16)>,
}

impl Range {
    /// `asked` told of them. A node that does not know its own name says none.
    fn nodes(&self, asked: &ConnectionInfo) -> impl Iterator<Item = ConnectionInfo> {
        self.nodes.iter().map(|(host, port)| address::at(asked, host.clone(), *port))
    }
}

impl FromRedisValue for Range {
    fn from_redis_value(value: Value) -> Result<Self, redis::ParsingError> {
        let mut parts = Vec::<Value>::from_redis_value(value)?.into_iter();
        let mut next = || parts.next().unwrap_or(Value::Nil);
        let first = u16::from_redis_value(next())?;
        let last = u16::from_redis_value(next())?;
        let nodes = parts
            .map(|node| {
                let mut parts = Vec::<Value>::from_redis_value(node)?.into_iter();
                let mut next = || parts.next().unwrap_or(Value::Nil);
                let host = Option::<String>::from_redis_value(next())?;
                Ok((host.filter(|host| !host.is_empty()), u16::from_redis_value(next())?))
            })
            .collect::<Result<_, redis::ParsingError>>()?;
        Ok(Self { first, last, nodes })
    }
}

async fn ask_slots(node: &ConnectionInfo, key: &str) -> RedisResult<(u16, Vec<Range>)> {
    let mut which = redis::cmd("CLUSTER");
    which.arg("KEYSLOT").arg(key);
    let mut whose = redis::cmd("CLUSTER");
    whose.arg("SLOTS");
    let mut connection = connect_once(node).await?;
    Ok((which.query_async(&mut connection).await?, whose.query_async(&mut connection).await?))
}

async fn ask_once<T: FromRedisValue>(
    server: &ConnectionInfo,
    command: &redis::Cmd,
) -> RedisResult<T> {
    command.query_async(&mut connect_once(server).await?).await
}

/// A connection for a question or two. Who does not answer at once is not waited for: there are
/// others to ask.
async fn connect_once(server: &ConnectionInfo) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_secs(1)));
    Client::open(server.clone())?.get_multiplexed_async_connection_with_config(&config).await
}

/// What a server says of the question, not of itself. All else may mean that it is not, or no
/// longer, the one to ask, or that there is no way to it.
fn is_of_the_right_node(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOSCRIPT" | "OOM" | "LOADING" | "BUSY" | "MISCONF" | "ERR"))
}

fn unknown(what: String) -> RedisError {
    RedisError::from((ErrorKind::Client, "there is no server to ask", what))
}
