//! Serving over a Redis that is emptied, killed, cut off and stalled: nothing is lost, no handler
//! is broken off, and nobody has to be started again.

use super::*;

/// A fleet of one program: what is committed is claimed and handled.
struct Fleet {
    record: Arc<Record>,
    ledger: Arc<Ledger>,
    serving: Serving,
    wanted: Vec<Job>,
}

impl Fleet {
    /// Begins to handle `count` jobs, and waits until some have been.
    async fn start(server: &Server, count: usize) -> Self {
        let queue = on_redis(server).await;
        let (record, ledger) = (Record::new(), Arc::new(Ledger::default()));
        let wanted = tasks(count);
        let serving = Serving::start(&queue, &record, 8, {
            let ledger = ledger.clone();
            move |work| {
                let ledger = ledger.clone();
                async move {
                    ledger.begin(work.claim.job);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    ledger.end(work.claim.job);
                    Ok(())
                }
            }
        });
        record.commit(&wanted);
        let fleet = Self { record, ledger, serving, wanted };
        fleet.until_ended(count / 10).await;
        fleet
    }

    async fn until_ended(&self, count: usize) {
        until(&format!("{count} were handled"), async || {
            self.ledger.ended.lock().unwrap().len() >= count
        })
        .await;
    }

    /// Commits more, and waits until it was handled.
    async fn goes_on(&self) {
        let more = tasks(20);
        self.record.commit(&more);
        until("more is handled", async || self.ledger.all_ended(&more)).await;
    }

    /// All is handled, each once; and the program still lives and serves.
    async fn ends_well(self) {
        self.until_ended(self.wanted.len()).await;
        self.goes_on().await;
        assert!(self.serving.pulse.stalled(Duration::from_secs(10)).is_empty());
        self.serving.end().await;
        assert_eq!(self.ledger.broken_off(), 0);
        assert!(self.wanted.iter().all(|job| self.ledger.ended(*job) == 1));
    }
}

/// A program with nothing to do, which never looks by itself.
struct Idle {
    record: Arc<Record>,
    ledger: Arc<Ledger>,
    serving: Serving,
}

impl Idle {
    async fn start(server: &Server) -> Self {
        let queue: Arc<dyn Queue> =
            Arc::new(Redis::open_prefixed(&server.url(), "idle").await.unwrap());
        let (record, ledger) = (Record::new(), Arc::new(Ledger::default()));
        let serving = Serving::looking(NEVER, &queue, &record, 1, {
            let ledger = ledger.clone();
            move |work| {
                ledger.end(work.claim.job);
                async { Ok(()) }
            }
        });
        until("it has looked once", async || record.claims() == 1).await;
        Self { record, ledger, serving }
    }

    /// Work is begun that it can only have heard of. A wake-up that is lost with Redis itself may
    /// be followed by the next.
    async fn can_be_woken(self) {
        let mut wanted = Vec::new();
        until("it was woken", async || {
            if wanted.len() < 10 {
                let more = tasks(1);
                self.record.commit(&more);
                wanted.extend(more);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            wanted.iter().any(|job| self.ledger.ended(*job) == 1)
        })
        .await;
        self.serving.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_loses_nothing() {
    let server = Server::start();
    let fleet = Fleet::start(&server, 500).await;

    server.command::<()>(&["FLUSHALL"]);

    fleet.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_reader_outlives_the_emptying_of_its_redis() {
    let server = Server::start();
    let idle = Idle::start(&server).await;
    let reads = async || {
        let blocked: String = server.command(&["INFO", "clients"]);
        blocked.contains("blocked_clients:1\r\n")
    };
    until("it listens", reads).await;

    server.command::<()>(&["FLUSHALL"]);

    idle.can_be_woken().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_without_redis_and_can_be_woken_when_it_is_back() {
    let mut server = Server::start();
    let fleet = Fleet::start(&server, 500).await;
    let idle = Idle::start(&server).await;

    server.kill();
    fleet.until_ended(500).await;
    fleet.goes_on().await;
    server.up();

    idle.can_be_woken().await;
    fleet.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_are_made_again() {
    let server = Server::start();
    let fleet = Fleet::start(&server, 500).await;

    let idle = Idle::start(&server).await;
    for part in [2, 4, 6] {
        fleet.until_ended(part * 50).await;
        until("there was something to cut", async || {
            server.command::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]) >= 1
        })
        .await;
    }

    idle.can_be_woken().await;
    fleet.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stalls_is_waited_for() {
    let server = Server::start();
    let fleet = Fleet::start(&server, 500).await;
    let idle = Idle::start(&server).await;

    server.stall();
    fleet.until_ended(500).await;
    // Longer than the 500 ms after which the client library, left to itself, gives a connection up.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    server.resume();

    idle.can_be_woken().await;
    fleet.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_starts_before_its_redis() {
    let mut server = Server::start();
    server.kill();
    let idle = Idle::start(&server).await;

    server.up();

    idle.can_be_woken().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_is_committed_is_begun_by_an_idle_program_within_milliseconds() {
    let server = Server::start();
    let (queue, record) = (on_redis(&server).await, Record::new());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let serving = Serving::looking(NEVER, &queue, &record, 4, move |_| {
        tell.send(Instant::now()).unwrap();
        async { Ok(()) }
    });
    let mut took = Vec::new();
    for job in tasks(50) {
        let committed = Instant::now();
        record.commit(&[job]);
        took.push(told.recv().await.unwrap().saturating_duration_since(committed));
    }
    serving.end().await;

    took.sort();
    println!("half of them within {:?}, all within {:?}", took[25], took[49]);
    // A reader that polled would need far more; a machine that is busy with other tests, some.
    assert!(took[25] < Duration::from_millis(20), "half of them took longer than {:?}", took[25]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_of_rediss_speaks_tls() {
    use tokio::io::AsyncReadExt as _;
    const HANDSHAKE: u8 = 22;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let queue = Redis::open(&format!("rediss://127.0.0.1:{port}/")).await.unwrap();

    let (pinged, first) = tokio::join!(queue.ping(), async {
        let (mut connection, _) = listener.accept().await.unwrap();
        connection.read_u8().await.unwrap()
    });

    assert_eq!(first, HANDSHAKE);
    assert!(pinged.is_err(), "whoever hangs up is no Redis");
}

/// Tells until the listener hears.
async fn hears(queue: &Arc<dyn Queue>, listener: &mut broadcast::Receiver<Notice>) {
    let notice = Notice::Recalled(draw::id());
    until("a notice is heard", async || {
        queue.notify(&[notice]).await.ok();
        let wait = Duration::from_millis(50);
        while let Ok(heard) = tokio::time::timeout(wait, listener.recv()).await {
            if heard.unwrap() == notice {
                return true;
            }
        }
        false
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_hears_again_after_a_restart_and_after_being_cut_off() {
    let mut server = Server::start();
    let queue = on_redis(&server).await;
    let mut listener = queue.notices();
    hears(&queue, &mut listener).await;

    server.kill();
    assert!(queue.notify(&[Notice::Recalled(draw::id())]).await.is_err());
    server.up();
    hears(&queue, &mut listener).await;

    let cut: u64 = server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert_eq!(cut, 1);
    hears(&queue, &mut listener).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_of_another_version_is_passed_over() {
    let server = Server::start();
    let queue = on_redis(&server).await;
    let mut listener = queue.notices();
    hears(&queue, &mut listener).await;

    assert_eq!(server.command::<u64>(&["PUBLISH", "bf:notices", "renamed fleet"]), 1);

    hears(&queue, &mut listener).await;
}
