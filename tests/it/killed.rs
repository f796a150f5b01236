//! The embedded default may be killed at any instant: what it answered stands, and nothing is done
//! by halves or twice.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use buildfleet::{
    domain::{build, delivery, task},
    store::{BuildsWanted, DeliveriesWanted, Store, sqlite::Sqlite},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Works at the store until `answers` lines were heard, then dies without warning. Answers with all
/// lines that it had said.
fn worked_and_killed(url: &str, answers: usize) -> Vec<String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_store-under-kill"))
        .arg(url)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output is ours")).lines();
    let mut heard: Vec<_> = lines.by_ref().take(answers).map_while(Result::ok).collect();
    child.kill().expect("it runs until it is killed");
    child.wait().expect("it is our child");
    heard.extend(lines.map_while(Result::ok));
    heard
}

async fn assert_consistent(url: &str, heard: &HashSet<String>) {
    let store = Sqlite::open(url).await.unwrap();
    assert_eq!(store.contradictions().await.unwrap(), []);
    for line in heard {
        match line.split_once(' ').unwrap() {
            ("submitted", id) => assert!(store.build(id.parse().unwrap()).await.is_ok(), "{line}"),
            ("settled", id) => {
                let task = store.task(id.parse().unwrap()).await.unwrap();
                assert_eq!(task.state, task::State::Completed, "{line}");
            }
            other => panic!("{other:?} was not asked for"),
        }
    }
}

#[tokio::test]
async fn what_was_answered_before_a_kill_stands_and_nothing_is_doubled() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("fleet.db").display());
    let mut heard = HashSet::new();

    for _ in 0..8 {
        let lines = worked_and_killed(&url, dice.random_range(1..60));
        for line in lines {
            assert!(heard.insert(line.clone()), "{line} was answered twice");
        }
        assert_consistent(&url, &heard).await;
    }
    let finished = Command::new(env!("CARGO_BIN_EXE_store-under-kill"))
        .args([&url, "finish"])
        .stdout(Stdio::null())
        .status()
        .unwrap();

    assert!(finished.success());
    assert_consistent(&url, &heard).await;
    let store = Sqlite::open(&url).await.unwrap();
    let tenant = "tenant".to_owned();
    let all = BuildsWanted {
        tenant: tenant.clone(),
        state: None,
        project_id: None,
        limit: 10_000,
        after: None,
    };
    for build in store.builds(&all).await.unwrap().rows {
        assert_eq!(build.state, build::State::Completed, "{}", build.id);
    }
    let all = DeliveriesWanted { tenant, build: None, state: None, limit: 100_000, after: None };
    for delivery in store.deliveries(&all).await.unwrap().rows {
        assert_eq!(delivery.state, delivery::State::Delivered, "{}", delivery.id);
    }
}
