//! Several servers of Redis that stand in for each other: a cluster, and a master with a replica
//! that a sentinel watches.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use super::redis::{Redis, free_port};

const UP_WITHIN: Duration = Duration::from_secs(30);
/// After so long without a word a node of a cluster is taken for dead.
const NODE_TIMEOUT_MS: &str = "1000";
const SLOTS: u16 = 16_384;

/// Three masters that share the slots of a cluster, and replicas.
pub struct Cluster {
    masters: Vec<Redis>,
    replicas: Vec<Redis>,
}

impl Cluster {
    pub fn start() -> Self {
        let masters: Vec<_> = (0..3).map(|_| start_node()).collect();
        let cluster = Self { masters, replicas: Vec::new() };
        for (index, node) in (0..).zip(&cluster.masters) {
            let first = SLOTS / 3 * index;
            let last = if index == 2 { SLOTS - 1 } else { first + SLOTS / 3 - 1 };
            let slots = [first.to_string(), last.to_string()];
            node.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", &slots[0], &slots[1]]);
            if index > 0 {
                cluster.masters[0].meet(node);
            }
        }
        cluster.until_well();
        cluster
    }

    pub fn url(&self) -> String {
        let hosts: Vec<_> =
            self.masters.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    pub fn masters(&self) -> &[Redis] {
        &self.masters
    }

    /// Which of the masters has a key.
    pub fn master_of(&self, key: &str) -> usize {
        let slot: u16 = self.masters[0].command(&["CLUSTER", "KEYSLOT", key]);
        usize::from(slot / (SLOTS / 3)).min(2)
    }

    /// Gives a master a replica, and waits until it follows.
    pub fn add_replica(&mut self, master: usize) {
        let replica = start_node();
        let master = &self.masters[master];
        let id: String = master.command(&["CLUSTER", "MYID"]);
        master.meet(&replica);
        until("the replica knows its master", || {
            replica.ask::<()>(&["CLUSTER", "REPLICATE", &id]).is_ok()
        });
        replica.until_it_follows();
        self.replicas.push(replica);
        self.until_well();
    }

    /// Moves the slot of a key, and all that is in it, from its master to the next one.
    pub fn move_slot_of(&self, key: &str) {
        let from = self.master_of(key);
        let (source, target) = (&self.masters[from], &self.masters[(from + 1) % 3]);
        let slot: u16 = source.command(&["CLUSTER", "KEYSLOT", key]);
        let slot = slot.to_string();
        let set = |node: &Redis, words: &[&str]| {
            node.command::<()>(&[&["CLUSTER", "SETSLOT", &slot], words].concat());
        };
        let id = |node: &Redis| node.command::<String>(&["CLUSTER", "MYID"]);
        set(target, &["IMPORTING", &id(source)]);
        set(source, &["MIGRATING", &id(target)]);
        let port = target.port().to_string();
        loop {
            let keys: Vec<String> = source.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
            if keys.is_empty() {
                break;
            }
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            words.extend(keys.iter().map(String::as_str));
            source.command::<String>(&words);
        }
        let id = id(target);
        for node in [target, source].into_iter().chain(&self.masters) {
            set(node, &["NODE", &id]);
        }
    }

    /// Ends a master at once.
    pub fn kill(&mut self, master: usize) {
        self.masters[master].kill();
    }

    fn until_well(&self) {
        let nodes = || self.masters.iter().chain(&self.replicas);
        let known = format!("cluster_known_nodes:{}\r\n", nodes().count());
        until("all nodes know each other", || {
            nodes().all(|node| {
                let info = node.ask::<String>(&["CLUSTER", "INFO"]).unwrap_or_default();
                info.contains("cluster_state:ok") && info.contains(&known)
            })
        });
    }
}

/// A master, a replica, and a sentinel that puts the one in the other's place.
pub struct Watched {
    pub master: Redis,
    pub replica: Redis,
    pub sentinel: Redis,
}

impl Watched {
    pub fn start() -> Self {
        let master = Redis::start();
        let replica = Redis::start_with(|_| {
            vec!["--replicaof".to_owned(), "127.0.0.1".to_owned(), master.port().to_string()]
        });
        replica.until_it_follows();
        let sentinel = Redis::start_sentinel(master.port());
        until("the sentinel knows the replica", || {
            let replicas: Vec<redis::Value> = sentinel.command(&["SENTINEL", "REPLICAS", "main"]);
            replicas.len() == 1
        });
        Self { master, replica, sentinel }
    }

    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/main", self.sentinel.port())
    }
}

/// One for all tests that run at the same time and do not treat it badly; it ends with the last.
pub struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    #[expect(clippy::new_without_default, reason = "for statics alone")]
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    pub fn get(&self, start: impl FnOnce() -> T) -> Arc<T> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.upgrade().unwrap_or_else(|| {
            let started = Arc::new(start());
            *held = Arc::downgrade(&started);
            started
        })
    }
}

impl Redis {
    fn meet(&self, other: &Redis) {
        let bus: Vec<String> = other.command(&["CONFIG", "GET", "cluster-port"]);
        let port = other.port().to_string();
        self.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus[1]]);
    }

    fn until_it_follows(&self) {
        until("the replica follows", || {
            let info = self.ask::<String>(&["INFO", "replication"]);
            info.is_ok_and(|info| info.contains("master_link_status:up"))
        });
    }
}

fn start_node() -> Redis {
    Redis::start_with(|_| {
        // The bus must not be ten thousand above the port, where there may be no port at all.
        let bus = free_port().to_string();
        ["--cluster-enabled", "yes", "--cluster-port", &bus]
            .into_iter()
            .chain(["--cluster-node-timeout", NODE_TIMEOUT_MS])
            .map(str::to_owned)
            .collect()
    })
}

fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + UP_WITHIN;
    while !fact() {
        assert!(Instant::now() < deadline, "not within {UP_WITHIN:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
