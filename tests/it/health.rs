//! How a program says that it lives, and whether it is of use.

use std::{sync::Arc, time::Duration};

use buildfleet::{
    health::{self, Health},
    member::Member,
    queue::{Queue, memory::Memory, redis::Redis},
    store::sqlite::Sqlite,
};
use tempfile::TempDir;
use tests::{patience::until_some, servers::redis::Redis as Server};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(30);

/// A member that answers those who ask how it is.
struct Asked {
    member: Member,
    root: String,
    _serving: JoinSet<()>,
    _folder: TempDir,
}

impl Asked {
    async fn new(queue: Arc<dyn Queue>) -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite:{}", folder.path().join("record.db").display());
        let store = Arc::new(Sqlite::open(&url).await.unwrap());
        let (member, waker) = Member::new(store, queue, "task-worker", CancellationToken::new());
        let listener = health::listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let root = format!("http://{}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        let health = Health::of(&member).stalled_after(Duration::from_millis(2_500));
        serving.spawn(health.serve(listener));
        serving.spawn(waker.run(CancellationToken::new()));
        Self { member, root, _serving: serving, _folder: folder }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("{}{path}", self.root)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

#[tokio::test]
async fn a_program_with_a_loop_that_stands_still_does_not_live_and_says_which() {
    let asked = Asked::new(Arc::new(Memory::new())).await;
    let before = asked.get("/livez").await;

    let _still = asked.member.pulse.watch("claiming tasks");
    let after = until_some("it is found out", SOON, async || {
        Some(asked.get("/health/live").await).filter(|(status, _)| *status != 200)
    })
    .await;

    assert_eq!(before, (200, "ok\n".to_owned()));
    assert_eq!(after, (503, "stands still: claiming tasks\n".to_owned()));
    // Others could do no better with this store and this queue.
    assert_eq!(asked.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn a_program_without_its_queue_or_on_its_way_out_is_not_ready_and_lives() {
    let mut server = Server::start();
    let asked = Asked::new(Arc::new(Redis::open(&server.url()).await.unwrap())).await;
    let before = asked.get("/health/ready").await;

    server.kill();
    let without = asked.get("/readyz").await;
    server.up();
    until_some("it is ready again", SOON, async || {
        Some(asked.get("/readyz").await).filter(|(status, _)| *status == 200)
    })
    .await;
    asked.member.stop.cancel();
    let stopping = asked.get("/readyz").await;

    assert_eq!(before.0, 200);
    assert_eq!(without, (503, "the queue did not answer\n".to_owned()));
    assert_eq!(stopping, (503, "this process is stopping\n".to_owned()));
    assert_eq!(asked.get("/livez").await.0, 200);
    assert_eq!(asked.get("/").await.0, 404);
}
