//! Where else a Redis may be: in a cluster, behind sentinels, behind TLS, behind a socket. The
//! suite runs on them too, and they may be treated badly.

use tests::servers::cluster::{Cluster, Shared, Watched};

use super::{crew::Crew, *};

mod in_a_cluster {
    use super::*;

    static CLUSTER: Shared<Cluster> = Shared::new();

    async fn open() -> (Redis, Arc<Cluster>) {
        let cluster = tokio::task::spawn_blocking(|| CLUSTER.get(Cluster::start)).await.unwrap();
        let prefix = draw::id::<TaskId>().to_string();
        (Redis::open_prefixed(&cluster.url(), &prefix).await.unwrap(), cluster)
    }

    buildfleet::queue_conformance!(open);
}

mod behind_a_sentinel {
    use super::*;

    static WATCHED: Shared<Watched> = Shared::new();

    async fn open() -> (Redis, Arc<Watched>) {
        let watched = tokio::task::spawn_blocking(|| WATCHED.get(Watched::start)).await.unwrap();
        let prefix = draw::id::<TaskId>().to_string();
        (Redis::open_prefixed(&watched.url(), &prefix).await.unwrap(), watched)
    }

    buildfleet::queue_conformance!(open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lanes_are_on_different_nodes_of_a_cluster() {
    let cluster = Cluster::start();
    // Of the lanes of this fleet each is on a node of its own, by chance.
    let prefix = (0..)
        .map(|number| format!("fleet{number}"))
        .find(|prefix| {
            let mut nodes: Vec<_> = Lane::ALL
                .iter()
                .map(|lane| cluster.master_of(&format!("{{{prefix}:{lane}}}:q")))
                .collect();
            nodes.sort_unstable();
            nodes == [0, 1, 2]
        })
        .unwrap();
    let queue = Redis::open_prefixed(&cluster.url(), &prefix).await.unwrap();
    let jobs = [Job::Plan(draw::id()), Job::Task(draw::id()), Job::Delivery(draw::id())];

    assert_eq!(queue.push(&jobs).await.unwrap(), 3);

    for node in cluster.masters() {
        assert_eq!(node.command::<u64>(&["DBSIZE"]), 3);
    }
    for job in jobs {
        let taken = queue.take(job.lane(), draw::id(), 9, Duration::ZERO).await.unwrap();
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].job, job);
        queue.done(job.lane(), &[taken[0].receipt.clone()]).await.unwrap();
    }
    for node in cluster.masters() {
        // The bell stays until somebody looks in vain.
        assert_eq!(node.command::<u64>(&["DBSIZE"]), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_the_master_of_a_lane_is_followed_to_its_replica() {
    let mut cluster = Cluster::start();
    let master = cluster.master_of("{bf:tasks}:q");
    cluster.add_replica(master);
    let crew = Crew::start(Redis::open(&cluster.url()).await.unwrap());
    crew.goes_on("before").await;

    cluster.kill(master);
    crew.stalls().await;

    // The replica waits for a second until it takes its master for dead, and for another for votes.
    crew.goes_on("after the failover").await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_to_another_node_are_followed() {
    let cluster = Cluster::start();
    let crew = Crew::start(Redis::open(&cluster.url()).await.unwrap());
    crew.goes_on("before").await;

    cluster.move_slot_of("{bf:tasks}:q");

    crew.goes_on("after the slot has moved").await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_are_followed_to_the_next_master() {
    let mut watched = Watched::start();
    let crew = Crew::start(Redis::open(&watched.url()).await.unwrap());
    crew.goes_on("before").await;

    watched.master.kill();
    crew.stalls().await;
    crew.goes_on("after the failover").await;

    // The old master comes back, believes for a moment to be one, and is made a replica.
    watched.master.up();
    crew.goes_on("with the old master back").await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_hand_is_followed() {
    let watched = Watched::start();
    let crew = Crew::start(Redis::open(&watched.url()).await.unwrap());
    crew.goes_on("before").await;

    until("the sentinel has a replica to promote", async || {
        watched.sentinel.ask::<()>(&["SENTINEL", "FAILOVER", "main"]).is_ok()
    })
    .await;
    until("the replica is the master", async || {
        // Whoever asks is cut off at the moment of the change.
        let info = watched.replica.ask::<String>(&["INFO", "replication"]);
        info.is_ok_and(|info| info.contains("role:master"))
    })
    .await;

    crew.goes_on("after the failover").await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_are_for_servers_and_for_sentinels() {
    let mut watched = Watched::start();
    let word = |server: &Server, word: &str| {
        let word = format!(">{word}");
        server.command::<()>(&["ACL", "SETUSER", "default", "resetpass", &word]);
    };
    // A sentinel that cannot log in to its server would take it for dead.
    watched.sentinel.command::<()>(&["SENTINEL", "SET", "main", "auth-pass", "servers"]);
    watched.replica.shut_down();
    word(&watched.master, "servers");
    word(&watched.sentinel, "sentinels");
    let port = watched.sentinel.port();

    for (url, right) in [
        ("redis+sentinel://:servers@HERE/main?sentinel_password=sentinels&db=3", true),
        ("redis+sentinel://:servers@HERE/main?sentinel_password=servers", false),
        ("redis+sentinel://:sentinels@HERE/main?sentinel_password=sentinels", false),
        ("redis+sentinel://:servers@HERE/other?sentinel_password=sentinels", false),
    ] {
        let url = url.replace("HERE", &format!("127.0.0.1:{port}"));
        let queue = Redis::open(&url).await.unwrap();
        let pinged = queue.ping().await;
        assert_eq!(pinged.is_ok(), right, "{url}: {pinged:?}");
    }
}

/// A certificate of an authority of its own, and the authority's, in the folder of a server.
fn certify(folder: &std::path::Path) {
    let openssl = |arguments: &str| {
        let made = std::process::Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .unwrap_or_else(|error| panic!("openssl: {error}; install OpenSSL 3"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let key = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(&format!("{key} -subj /CN=authority -keyout ca.key -out ca.pem"));
    openssl(&format!(
        "{key} -CA ca.pem -CAkey ca.key -subj /CN=server -keyout own.key -out own.pem \
         -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
    ));
}

/// A server that speaks TLS besides, and the port at which it does.
fn start_with_tls(clients: &str) -> (Server, String) {
    let server = Server::start_with(|folder| {
        certify(folder);
        let file = |name: &str| folder.join(name).display().to_string();
        let port =
            std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut arguments = vec!["--tls-port".to_owned(), port.to_string()];
        for (option, name) in [
            ("--tls-cert-file", "own.pem"),
            ("--tls-key-file", "own.key"),
            ("--tls-ca-cert-file", "ca.pem"),
        ] {
            arguments.extend([option.to_owned(), file(name)]);
        }
        arguments.extend(["--tls-auth-clients".to_owned(), clients.to_owned()]);
        arguments
    });
    let port: Vec<String> = server.command(&["CONFIG", "GET", "tls-port"]);
    let at = format!("rediss://127.0.0.1:{}/", port[1]);
    (server, at)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_authority_is_trusted_only_if_it_is_named() {
    let (server, at) = start_with_tls("no");
    let authority = server.folder().join("ca.pem").display().to_string();
    let trusting = Redis::open(&format!("{at}?sslrootcert={authority}")).await.unwrap();
    let strange = Redis::open(&at).await.unwrap();

    assert!(strange.ping().await.is_err(), "nobody vouches for it");
    let crew = Crew::start(trusting);
    crew.goes_on("over TLS").await;
    server.command::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]);
    crew.goes_on("over TLS again").await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_certificates_is_shown_one() {
    let (server, at) = start_with_tls("yes");
    let file = |name: &str| server.folder().join(name).display().to_string();
    let url = format!("{at}?sslrootcert={}", file("ca.pem"));

    let nameless = Redis::open(&url).await.unwrap();
    let named = format!("{url}&sslcert={}&sslkey={}", file("own.pem"), file("own.key"));
    let named = Redis::open(&named).await.unwrap();

    assert!(nameless.ping().await.is_err(), "it shows none");
    named.ping().await.unwrap();
    let missing = Redis::open(&format!("{at}?sslrootcert=/nowhere.pem")).await;
    let reason = missing.err().map(|error| format!("{:?}", error.source)).unwrap_or_default();
    assert!(reason.contains("/nowhere.pem"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_of_this_machine_will_do() {
    let server = Server::start_with(|folder| {
        vec!["--unixsocket".to_owned(), folder.join("socket").display().to_string()]
    });
    let url = format!("redis+unix://{}?db=2", server.folder().join("socket").display());

    let queue = Redis::open(&url).await.unwrap();

    let wanted = tasks(3);
    assert_eq!(queue.push(&wanted).await.unwrap(), 3);
    assert_eq!(queue.depth(Lane::Tasks).await.unwrap(), 3);
    let keyspace: String = server.command(&["INFO", "keyspace"]);
    assert!(keyspace.contains("db2:keys=3"), "{keyspace}");
}
