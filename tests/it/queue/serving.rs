//! What `serve` promises its handlers and its queue.

use tokio::sync::{Semaphore, mpsc};

use super::*;

fn down() -> store::Error {
    store::Error::unavailable(std::io::Error::other("down"))
}

async fn left(queue: &Arc<dyn Queue>) -> usize {
    let over = queue.take_over(Lane::Tasks, draw::id(), Duration::ZERO, 1_000).await.unwrap();
    over.len() + queue.depth(Lane::Tasks).await.unwrap() as usize
}

async fn each_job_is_handled_once_and_none_is_left(queue: Arc<dyn Queue>) {
    let wanted = tasks(500);
    let ledger = Arc::new(Ledger::default());
    let serving = Serving::start(&queue, 16, {
        let ledger = ledger.clone();
        move |job| {
            let ledger = ledger.clone();
            async move {
                ledger.begin(job);
                tokio::task::yield_now().await;
                ledger.end(job);
                Ok(())
            }
        }
    });

    queue.push(&wanted).await.unwrap();

    until("all were handled", async || ledger.all_ended(&wanted)).await;
    serving.end().await;
    assert!(wanted.iter().all(|job| ledger.ended(*job) == 1));
    assert_eq!(left(&queue).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_memory_each_job_is_handled_once_and_none_is_left() {
    each_job_is_handled_once_and_none_is_left(on_memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_redis_each_job_is_handled_once_and_none_is_left() {
    let server = Server::start();
    each_job_is_handled_once_and_none_is_left(on_redis(&server).await).await;
}

#[tokio::test]
async fn no_more_jobs_are_taken_than_there_are_free_slots() {
    let queue = on_memory();
    let wanted = tasks(10);
    queue.push(&wanted).await.unwrap();
    let gate = Arc::new(Semaphore::new(0));

    let serving = Serving::start(&queue, 3, {
        let gate = gate.clone();
        move |_| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Ok(())
            }
        }
    });

    until("three run", async || serving.busy() == 3).await;
    assert_eq!(queue.depth(Lane::Tasks).await.unwrap(), 7);
    gate.add_permits(1);
    until("a fourth was taken", async || queue.depth(Lane::Tasks).await.unwrap() == 6).await;
    until("three run again", async || serving.busy() == 3).await;
    assert_eq!(queue.depth(Lane::Tasks).await.unwrap(), 6);

    gate.add_permits(9);
    until("nothing runs", async || serving.busy() == 0).await;
    serving.end().await;
    assert_eq!(left(&queue).await, 0);
}

#[tokio::test]
async fn fenced_unknown_and_contradicted_jobs_are_done_with() {
    let queue = on_memory();
    let wanted = tasks(3);
    let ledger = Arc::new(Ledger::default());
    let serving = Serving::start(&queue, 1, {
        let (ledger, wanted) = (ledger.clone(), wanted.clone());
        move |job| {
            ledger.end(job);
            let result = match wanted.iter().position(|one| *one == job) {
                Some(0) => Err(store::Error::Fenced),
                Some(1) => Err(store::Error::not_found(job)),
                _ => Err(store::Error::conflict("not_so", "not so")),
            };
            async move { result }
        }
    });

    queue.push(&wanted).await.unwrap();

    until("all were handled", async || ledger.all_ended(&wanted)).await;
    serving.end().await;
    assert_eq!(left(&queue).await, 0);
    assert!(wanted.iter().all(|job| ledger.ended(*job) == 1));
}

#[tokio::test(start_paused = true)]
async fn a_job_comes_again_a_little_later_when_the_store_did_not_answer() {
    let queue = on_memory();
    let (tell, mut told) = mpsc::unbounded_channel();
    let serving = Serving::start(&queue, 1, move |_| {
        tell.send(tokio::time::Instant::now()).unwrap();
        async { Err(down()) }
    });

    queue.push(&tasks(1)).await.unwrap();

    let mut waits = Vec::new();
    let mut before = told.recv().await.unwrap();
    while waits.len() < 10 {
        let now = told.recv().await.unwrap();
        waits.push(now.duration_since(before).as_millis());
        before = now;
    }
    assert!((500..600).contains(&waits[0]), "{waits:?}");
    assert!(waits.is_sorted(), "{waits:?}");
    assert!((5_000..5_100).contains(&waits[9]), "{waits:?}");
    serving.end().await;
    assert_eq!(queue.depth(Lane::Tasks).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_handler_is_its_own_affair() {
    let queue = on_memory();
    let wanted = tasks(2);
    let ledger = Arc::new(Ledger::default());
    let serving = Serving::start(&queue, 2, {
        let (ledger, bad) = (ledger.clone(), wanted[0]);
        move |job| {
            ledger.begin(job);
            assert!(job != bad || ledger.begun(job) > 1, "the first time it goes wrong");
            let ledger = ledger.clone();
            async move {
                ledger.end(job);
                Ok(())
            }
        }
    });

    queue.push(&wanted).await.unwrap();

    until("both were handled", async || ledger.all_ended(&wanted)).await;
    assert_eq!(ledger.begun(wanted[0]), 2);
    assert_eq!(ledger.begun(wanted[1]), 1);
    serving.end().await;
    assert_eq!(left(&queue).await, 0);
}

#[tokio::test]
async fn at_the_stop_what_runs_may_end_and_nothing_more_is_taken() {
    let queue = on_memory();
    let wanted = tasks(5);
    queue.push(&wanted).await.unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let ledger = Arc::new(Ledger::default());
    let mut serving = Serving::start(&queue, 2, {
        let (gate, ledger) = (gate.clone(), ledger.clone());
        move |job| {
            let (gate, ledger) = (gate.clone(), ledger.clone());
            async move {
                ledger.begin(job);
                gate.acquire().await.unwrap().forget();
                ledger.end(job);
                Ok(())
            }
        }
    });
    until("two run", async || ledger.begun(wanted[0]) + ledger.begun(wanted[1]) == 2).await;

    serving.stop.cancel();

    assert!(serving.program.try_join_next().is_none(), "it waits for its handlers");
    gate.add_permits(5);
    serving.end().await;
    assert!(ledger.all_ended(&wanted[..2]));
    assert_eq!(left(&queue).await, 3);
    assert_eq!(ledger.broken_off(), 0);
}

#[tokio::test]
async fn a_program_that_is_dropped_breaks_its_handlers_off() {
    struct Told(mpsc::UnboundedSender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send(()).ok();
        }
    }
    let queue = on_memory();
    let (tell, mut told) = mpsc::unbounded_channel();
    let serving = Serving::start(&queue, 1, move |_| {
        let told = Told(tell.clone());
        async move {
            let _told = told;
            std::future::pending().await
        }
    });
    queue.push(&tasks(1)).await.unwrap();
    until("it runs", async || serving.busy() == 1).await;

    drop(serving);

    told.recv().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_run_in_parallel() {
    let queue = on_memory();
    let both = Arc::new(std::sync::Barrier::new(2));
    let ledger = Arc::new(Ledger::default());
    let wanted = tasks(2);
    let serving = Serving::start(&queue, 2, {
        let ledger = ledger.clone();
        move |job| {
            let (both, ledger) = (both.clone(), ledger.clone());
            async move {
                // Holds up a whole thread until the other handler is here too.
                tokio::task::block_in_place(|| both.wait());
                ledger.end(job);
                Ok(())
            }
        }
    });

    queue.push(&wanted).await.unwrap();

    until("they met", async || ledger.all_ended(&wanted)).await;
    serving.end().await;
}
