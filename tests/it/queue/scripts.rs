//! What the scripts inside Redis leave behind, key by key.

use buildfleet::domain::id::HolderId;

use super::*;

const STREAM: &str = "{test:tasks}:s";
const NEWEST: &str = "{test:tasks}:w";

async fn open(server: &Server) -> Redis {
    Redis::open_prefixed(&server.url(), "test").await.unwrap()
}

async fn take(queue: &Redis, most: usize) -> Vec<buildfleet::queue::Taken> {
    queue.take(Lane::Tasks, draw::id(), most, Duration::ZERO).await.unwrap()
}

fn receipts(taken: &[buildfleet::queue::Taken]) -> Vec<String> {
    taken.iter().map(|one| one.receipt.clone()).collect()
}

#[tokio::test]
async fn pushing_keeps_one_entry_for_each_job_that_waits() {
    let server = Server::start();
    let queue = open(&server).await;
    let wanted = tasks(3);

    queue.push(&wanted).await.unwrap();
    queue.push(&wanted).await.unwrap();

    assert_eq!(server.command::<u64>(&["XLEN", STREAM]), 3);
    assert_eq!(server.command::<u64>(&["HLEN", NEWEST]), 3);
    assert_eq!(server.command::<Vec<String>>(&["KEYS", "*"]).len(), 2);
}

#[tokio::test]
async fn being_done_with_all_leaves_nothing_behind() {
    let server = Server::start();
    let queue = open(&server).await;
    queue.push(&tasks(3)).await.unwrap();
    let taken = take(&queue, 3).await;

    queue.done(Lane::Tasks, &receipts(&taken)).await.unwrap();

    assert_eq!(server.command::<u64>(&["XLEN", STREAM]), 0);
    assert_eq!(server.command::<u64>(&["EXISTS", NEWEST]), 0);
    assert_eq!(queue.depth(Lane::Tasks).await.unwrap(), 0);
}

#[tokio::test]
async fn putting_back_leaves_one_entry_that_waits() {
    let server = Server::start();
    let queue = open(&server).await;
    queue.push(&tasks(1)).await.unwrap();
    let taken = take(&queue, 1).await;
    assert_eq!(queue.depth(Lane::Tasks).await.unwrap(), 0);

    queue.put_back(Lane::Tasks, &receipts(&taken)).await.unwrap();

    assert_eq!(server.command::<u64>(&["XLEN", STREAM]), 1);
    assert_eq!(server.command::<u64>(&["HLEN", NEWEST]), 1);
    assert_eq!(queue.depth(Lane::Tasks).await.unwrap(), 1);
}

#[tokio::test]
async fn a_stream_that_is_lost_alone_does_not_leave_its_jobs_marked_as_waiting() {
    let server = Server::start();
    let queue = open(&server).await;
    let wanted = tasks(2);
    queue.push(&wanted).await.unwrap();

    server.command::<()>(&["DEL", STREAM]);

    assert_eq!(queue.push(&wanted).await.unwrap(), 2);
    assert_eq!(take(&queue, 10).await.len(), 2);
}

#[tokio::test]
async fn a_group_that_is_lost_alone_gives_the_whole_stream_again() {
    let server = Server::start();
    let queue = open(&server).await;
    let wanted = tasks(2);
    queue.push(&wanted).await.unwrap();
    take(&queue, 1).await;

    server.command::<()>(&["XGROUP", "DESTROY", STREAM, "bf"]);

    assert_eq!(queue.push(&wanted).await.unwrap(), 0);
    assert_eq!(queue.depth(Lane::Tasks).await.unwrap(), 2);
    assert_eq!(take(&queue, 10).await.len(), 2);
}

#[tokio::test]
async fn an_entry_that_is_no_job_is_removed() {
    let server = Server::start();
    let queue = open(&server).await;
    server.command::<String>(&["XADD", STREAM, "*", "job", "nonsense"]);
    let wanted = tasks(1);
    queue.push(&wanted).await.unwrap();

    let taken = take(&queue, 10).await;

    assert_eq!(taken.iter().map(|one| one.job).collect::<Vec<_>>(), wanted);
    assert_eq!(server.command::<u64>(&["XLEN", STREAM]), 1);
}

#[tokio::test]
async fn consumers_that_hold_nothing_are_removed_and_those_that_hold_something_are_not() {
    let server = Server::start();
    let queue = open(&server).await;
    queue.push(&tasks(2)).await.unwrap();
    let [idle, holding]: [HolderId; 2] = [draw::id(), draw::id()];
    let taken = queue.take(Lane::Tasks, idle, 1, Duration::ZERO).await.unwrap();
    queue.done(Lane::Tasks, &receipts(&taken)).await.unwrap();
    queue.take(Lane::Tasks, holding, 1, Duration::ZERO).await.unwrap();
    let consumers = || -> String {
        let words = server.command::<redis::Value>(&["XINFO", "CONSUMERS", STREAM, "bf"]);
        format!("{words:?}")
    };
    assert!(consumers().contains(&idle.to_string()));

    let removed = queue.remove_idle_holders(Lane::Tasks, Duration::ZERO).await.unwrap();

    assert_eq!(removed, 1);
    assert!(!consumers().contains(&idle.to_string()));
    assert!(consumers().contains(&holding.to_string()));
}

#[tokio::test]
async fn an_id_that_another_job_has_meanwhile_says_nothing_of_this_one() {
    let server = Server::start();
    let queue = open(&server).await;
    let wanted = tasks(2);
    queue.push(&wanted[..1]).await.unwrap();
    let entries: Vec<(String, Vec<String>)> = server.command(&["XRANGE", STREAM, "-", "+"]);

    // As if the hash were of an older stream.
    server.command::<()>(&["HSET", NEWEST, &wanted[1].to_string(), &entries[0].0]);

    assert_eq!(queue.push(&wanted).await.unwrap(), 1);
    assert_eq!(take(&queue, 10).await.len(), 2);
}

/// Five megabytes for 200,000 are 25 bytes for each job; of fewer, fixed costs would be the most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_are_done_with_leave_no_memory_taken() {
    const ALL: usize = 50_000;
    const MORE_BYTES_MOST: i64 = 25 * ALL as i64;
    let server = Server::start();
    let queue = open(&server).await;
    let used = || -> i64 {
        server.command::<()>(&["MEMORY", "PURGE"]);
        let info: String = server.command(&["INFO", "memory"]);
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        line.and_then(|number| number.trim().parse().ok()).unwrap()
    };
    // Scripts and connections are there before.
    queue.push(&tasks(1)).await.unwrap();
    queue.done(Lane::Tasks, &receipts(&take(&queue, 1).await)).await.unwrap();
    let before = used();

    queue.push(&tasks(ALL)).await.unwrap();
    let full = used();
    let mut handled = 0;
    while handled < ALL {
        let taken = take(&queue, 5_000).await;
        queue.done(Lane::Tasks, &receipts(&taken)).await.unwrap();
        handled += taken.len();
    }

    let after = used();
    println!("{before} bytes before, {full} with all waiting, {after} after");
    assert!(full - before > 4 * MORE_BYTES_MOST, "{before} bytes before, {full} when full");
    assert!(after - before < MORE_BYTES_MOST, "{before} bytes before, {after} after");
}
