//! Serving and relaying over a Redis that is emptied, killed, cut off and stalled: nothing is lost,
//! no handler is broken off, and nobody has to be started again.

use super::{relaying::*, *};

/// A fleet of one program: what is committed is relayed, claimed and handled.
struct Fleet {
    script: Arc<Script>,
    ledger: Arc<Ledger>,
    relaying: Relaying,
    serving: Serving,
    wanted: Vec<Job>,
}

impl Fleet {
    /// Begins to handle `count` jobs, and waits until some have been.
    async fn start(server: &Server, count: usize) -> Self {
        let queue = on_redis(server).await;
        let (script, ledger) = (Arc::new(Script::default()), Arc::new(Ledger::default()));
        let wanted = tasks(count);
        script.wait_for_workers(&wanted);
        script.commit(&wanted, Duration::ZERO);
        let relaying = Relaying::start(&script, &queue);
        let serving = Serving::start(&queue, 8, {
            let (script, ledger) = (script.clone(), ledger.clone());
            move |job| {
                let (script, ledger) = (script.clone(), ledger.clone());
                async move {
                    if !script.claim(job) {
                        return Err(store::Error::Fenced);
                    }
                    ledger.begin(job);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    ledger.end(job);
                    Ok(())
                }
            }
        });
        let fleet = Self { script, ledger, relaying, serving, wanted };
        fleet.until_ended(count / 10).await;
        fleet
    }

    async fn until_ended(&self, count: usize) {
        until(&format!("{count} were handled"), async || {
            self.ledger.ended.lock().unwrap().len() >= count
        })
        .await;
    }

    /// All is handled, each once, as the claims see to; and the program still lives and serves.
    async fn ends_well(self) {
        self.until_ended(self.wanted.len()).await;
        let more = tasks(20);
        self.script.wait_for_workers(&more);
        self.script.commit(&more, Duration::ZERO);
        self.relaying.nudge.nudge();
        until("more is handled", async || self.ledger.all_ended(&more)).await;
        self.serving.end().await;
        self.relaying.end().await;
        assert_eq!(self.ledger.broken_off(), 0);
        assert!(self.wanted.iter().all(|job| self.ledger.ended(*job) == 1));
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
    let queue = on_redis(&server).await;
    let ledger = Arc::new(Ledger::default());
    let serving = Serving::start(&queue, 1, {
        let ledger = ledger.clone();
        move |job| {
            ledger.end(job);
            async { Ok(()) }
        }
    });
    let reads = async || {
        let blocked: String = server.command(&["INFO", "clients"]);
        blocked.contains("blocked_clients:1\r\n")
    };
    until("it listens", reads).await;

    server.command::<()>(&["FLUSHALL"]);

    let wanted = tasks(3);
    queue.push(&wanted).await.unwrap();
    until("they were handled", async || ledger.all_ended(&wanted)).await;
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_comes_back_empty_loses_nothing() {
    let mut server = Server::start();
    let fleet = Fleet::start(&server, 500).await;

    server.kill();
    let ended = fleet.ledger.ended.lock().unwrap().len();
    // What runs goes on without it.
    until("handlers have ended", async || fleet.serving.busy() == 0).await;
    assert!(fleet.ledger.ended.lock().unwrap().len() >= ended);
    server.up();

    fleet.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_are_made_again() {
    let server = Server::start();
    let fleet = Fleet::start(&server, 500).await;

    for part in [2, 4, 6] {
        fleet.until_ended(part * 50).await;
        let cut: u64 = server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert!(cut >= 1, "there was something to cut");
    }

    fleet.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stalls_is_waited_for() {
    let server = Server::start();
    let fleet = Fleet::start(&server, 500).await;

    server.stall();
    until("handlers have ended", async || fleet.serving.busy() == 0).await;
    // Longer than the 500 ms after which the client library, left to itself, gives a connection up.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    server.resume();

    fleet.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_starts_before_its_redis() {
    let mut server = Server::start();
    server.kill();
    let queue = on_redis(&server).await;
    assert!(queue.ping().await.is_err());
    let ledger = Arc::new(Ledger::default());
    let serving = Serving::start(&queue, 1, {
        let ledger = ledger.clone();
        move |job| {
            ledger.end(job);
            async { Ok(()) }
        }
    });

    server.up();

    let wanted = tasks(1);
    until("it can be pushed", async || queue.push(&wanted).await.is_ok()).await;
    until("it was handled", async || ledger.all_ended(&wanted)).await;
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_pushed_to_an_idle_reader_is_begun_within_milliseconds() {
    let server = Server::start();
    let queue = on_redis(&server).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let serving = Serving::start(&queue, 4, move |_| {
        tell.send(Instant::now()).unwrap();
        async { Ok(()) }
    });
    let mut took = Vec::new();
    for job in tasks(50) {
        let pushed = Instant::now();
        queue.push(&[job]).await.unwrap();
        took.push(told.recv().await.unwrap().saturating_duration_since(pushed));
    }
    serving.end().await;

    took.sort();
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
