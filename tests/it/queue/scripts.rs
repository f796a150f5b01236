//! What the scripts inside Redis leave behind, key by key.

use buildfleet::queue::Taken;

use super::*;

const WAITING: &str = "{test:tasks}:q";
const SAME: &str = "{test:tasks}:m";
const HELD: &str = "{test:tasks}:h";
const BELL: &str = "{test:tasks}:b";

async fn open(server: &Server) -> Redis {
    Redis::open_prefixed(&server.url(), "test").await.unwrap()
}

async fn take(queue: &Redis, most: usize) -> Vec<Taken> {
    queue.take(Lane::Tasks, draw::id(), most, Duration::ZERO).await.unwrap()
}

fn receipts(taken: &[Taken]) -> Vec<String> {
    taken.iter().map(|one| one.receipt.clone()).collect()
}

#[tokio::test]
async fn pushing_keeps_one_place_for_each_job_that_waits() {
    let server = Server::start();
    let queue = open(&server).await;
    let wanted = tasks(3);

    queue.push(&wanted).await.unwrap();
    queue.push(&wanted).await.unwrap();

    assert_eq!(server.command::<u64>(&["LLEN", WAITING]), 3);
    assert_eq!(server.command::<u64>(&["SCARD", SAME]), 3);
    assert_eq!(server.command::<u64>(&["LLEN", BELL]), 1);
    assert_eq!(server.command::<Vec<String>>(&["KEYS", "*"]).len(), 3);
}

#[tokio::test]
async fn being_done_with_all_leaves_nothing_behind() {
    let server = Server::start();
    let queue = open(&server).await;
    queue.push(&tasks(3)).await.unwrap();
    let taken = take(&queue, 4).await;
    assert_eq!(server.command::<u64>(&["ZCARD", HELD]), 3);

    queue.done(Lane::Tasks, &receipts(&taken)).await.unwrap();

    // The bell falls silent as soon as somebody looks in vain.
    assert_eq!(take(&queue, 1).await, []);
    assert_eq!(server.command::<Vec<String>>(&["KEYS", "*"]), [""; 0]);
}

#[tokio::test]
async fn putting_back_leaves_one_place() {
    let server = Server::start();
    let queue = open(&server).await;
    queue.push(&tasks(1)).await.unwrap();
    let taken = take(&queue, 1).await;
    assert_eq!(queue.depth(Lane::Tasks).await.unwrap(), 0);

    queue.put_back(Lane::Tasks, &receipts(&taken)).await.unwrap();

    assert_eq!(server.command::<u64>(&["LLEN", WAITING]), 1);
    assert_eq!(server.command::<u64>(&["SCARD", SAME]), 1);
    assert_eq!(server.command::<u64>(&["EXISTS", HELD]), 0);
}

#[tokio::test]
async fn who_takes_a_part_rings_for_the_rest() {
    let server = Server::start();
    let queue = open(&server).await;
    queue.push(&tasks(2)).await.unwrap();
    // As if somebody had listened.
    server.command::<()>(&["DEL", BELL]);

    take(&queue, 1).await;
    assert_eq!(server.command::<u64>(&["LLEN", BELL]), 1);

    server.command::<()>(&["DEL", BELL]);
    take(&queue, 1).await;
    assert_eq!(server.command::<u64>(&["LLEN", BELL]), 0);
}

#[tokio::test]
async fn a_list_that_is_lost_alone_does_not_leave_its_jobs_marked_as_waiting() {
    let server = Server::start();
    let queue = open(&server).await;
    let wanted = tasks(2);
    queue.push(&wanted).await.unwrap();

    server.command::<()>(&["DEL", WAITING]);

    assert_eq!(queue.push(&wanted).await.unwrap(), 2);
    assert_eq!(take(&queue, 10).await.len(), 2);
}

#[tokio::test]
async fn a_set_that_is_lost_alone_does_not_let_jobs_wait_twice() {
    let server = Server::start();
    let queue = open(&server).await;
    // More than one call of Redis makes anew.
    let wanted = tasks(2_500);
    queue.push(&wanted).await.unwrap();

    server.command::<()>(&["DEL", SAME]);

    assert_eq!(queue.push(&wanted).await.unwrap(), 0);
    assert_eq!(take(&queue, 5_000).await.len(), wanted.len());
}

#[tokio::test]
async fn what_was_taken_may_be_forgotten() {
    let server = Server::start();
    let queue = open(&server).await;
    queue.push(&tasks(2)).await.unwrap();
    let taken = take(&queue, 2).await;

    server.command::<()>(&["DEL", HELD]);

    queue.put_back(Lane::Tasks, &receipts(&taken)).await.unwrap();
    queue.done(Lane::Tasks, &receipts(&taken)).await.unwrap();
    assert_eq!(queue.depth(Lane::Tasks).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_no_job_is_removed() {
    let server = Server::start();
    let queue = open(&server).await;
    server.command::<()>(&["RPUSH", WAITING, "nonsense"]);
    let wanted = tasks(1);
    queue.push(&wanted).await.unwrap();

    let taken = take(&queue, 10).await;

    assert_eq!(taken.iter().map(|one| one.job).collect::<Vec<_>>(), wanted);
    assert_eq!(server.command::<u64>(&["ZCARD", HELD]), 1);
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
