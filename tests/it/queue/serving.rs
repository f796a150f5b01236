//! What `serve` promises its handlers and its record.

use std::collections::HashSet;

use tokio::sync::{Semaphore, mpsc};

use super::*;

fn down() -> store::Error {
    store::Error::unavailable(std::io::Error::other("down"))
}

/// A handler that waits for a permit of a gate, and writes down what it did.
fn gated(
    ledger: &Arc<Ledger>,
    gate: &Arc<Semaphore>,
) -> impl Fn(Work<Claimed>) -> Handling + Clone + Send + Sync + 'static {
    let (ledger, gate) = (ledger.clone(), gate.clone());
    move |work| {
        let (ledger, gate) = (ledger.clone(), gate.clone());
        Box::pin(async move {
            ledger.begin(work.claim.job);
            gate.acquire().await.unwrap().forget();
            ledger.end(work.claim.job);
            Ok(())
        })
    }
}

type Handling = std::pin::Pin<Box<dyn Future<Output = Result<(), store::Error>> + Send>>;

async fn each_claim_is_handled_once_and_none_is_left(queue: Arc<dyn Queue>) {
    let (wanted, record) = (tasks(500), Record::new());
    let ledger = Arc::new(Ledger::default());
    let serving = Serving::start(&queue, &record, 16, {
        let ledger = ledger.clone();
        move |work| {
            let ledger = ledger.clone();
            async move {
                ledger.begin(work.claim.job);
                tokio::task::yield_now().await;
                ledger.end(work.claim.job);
                Ok(())
            }
        }
    });

    record.commit(&wanted);

    until("all were handled", async || ledger.all_ended(&wanted)).await;
    serving.end().await;
    assert!(wanted.iter().all(|job| ledger.ended(*job) == 1));
    assert_eq!(record.left(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_memory_each_claim_is_handled_once_and_none_is_left() {
    each_claim_is_handled_once_and_none_is_left(on_memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_redis_each_claim_is_handled_once_and_none_is_left() {
    let server = Server::start();
    each_claim_is_handled_once_and_none_is_left(on_redis(&server).await).await;
}

#[tokio::test]
async fn no_more_is_claimed_than_there_are_free_slots() {
    let (queue, record) = (on_memory(), Record::new());
    let (ledger, gate) = (Arc::new(Ledger::default()), Arc::new(Semaphore::new(0)));
    record.commit(&tasks(10));

    let serving = Serving::start(&queue, &record, 3, gated(&ledger, &gate));

    until("three run", async || serving.busy() == 3).await;
    assert_eq!(record.left(), 7);
    gate.add_permits(1);
    until("a fourth was claimed", async || record.left() == 6).await;
    until("three run again", async || serving.busy() == 3).await;
    assert_eq!(record.left(), 6);

    gate.add_permits(9);
    until("nothing runs", async || record.left() == 0 && serving.busy() == 0).await;
    serving.end().await;
}

#[tokio::test]
async fn what_costs_more_takes_more_slots_and_never_more_than_all() {
    let (queue, record) = (on_memory(), Record::new());
    let (ledger, gate) = (Arc::new(Ledger::default()), Arc::new(Semaphore::new(0)));
    let wanted = tasks(4);
    record.put(&wanted[..2], 2);
    record.put(&wanted[2..3], 9);
    record.put(&wanted[3..], 1);

    let serving = Serving::start(&queue, &record, 4, gated(&ledger, &gate));

    let running = || wanted.iter().map(|job| ledger.begun(*job)).collect::<Vec<_>>();
    until("two of two run", async || serving.busy() == 4).await;
    assert_eq!(running(), [1, 1, 0, 0]);
    gate.add_permits(2);
    until("one of all runs", async || running() == [1, 1, 1, 0]).await;
    assert_eq!(serving.busy(), 4);
    gate.add_permits(2);
    until("all were handled", async || ledger.all_ended(&wanted)).await;
    serving.end().await;
}

#[tokio::test]
async fn handlers_that_lost_their_claim_are_done_with_it() {
    let (queue, record) = (on_memory(), Record::new());
    let wanted = tasks(4);
    let ledger = Arc::new(Ledger::default());
    let serving = Serving::start(&queue, &record, 1, {
        let (ledger, wanted) = (ledger.clone(), wanted.clone());
        move |work| {
            let job = work.claim.job;
            ledger.end(job);
            let result = match wanted.iter().position(|one| *one == job) {
                Some(0) => Err(store::Error::Fenced),
                Some(1) => Err(store::Error::not_found(job)),
                Some(2) => Err(store::Error::conflict("not_so", "not so")),
                _ => Ok(()),
            };
            async move { result }
        }
    });

    record.commit(&wanted);

    until("all were handled", async || ledger.all_ended(&wanted)).await;
    serving.end().await;
    assert_eq!(record.given_back(), []);
}

#[tokio::test(start_paused = true)]
async fn a_handler_whose_store_does_not_answer_keeps_its_slot_for_a_while() {
    let (queue, record) = (on_memory(), Record::new());
    let (tell, mut told) = mpsc::unbounded_channel();
    let serving = Serving::start(&queue, &record, 1, move |_| {
        tell.send(tokio::time::Instant::now()).unwrap();
        async { Err(down()) }
    });

    record.commit(&tasks(11));

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
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_asked_again() {
    let (queue, record) = (on_memory(), Record::new());
    let (ledger, gate) = (Arc::new(Ledger::default()), Arc::new(Semaphore::new(9)));
    let wanted = tasks(3);
    record.is_silent(true);
    record.commit(&wanted);
    let serving = Serving::start(&queue, &record, 2, gated(&ledger, &gate));
    until("it was asked twice", async || record.claims() >= 2).await;

    record.is_silent(false);

    until("all were handled", async || ledger.all_ended(&wanted)).await;
    serving.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_handler_is_its_own_affair() {
    let (queue, record) = (on_memory(), Record::new());
    let wanted = tasks(3);
    let ledger = Arc::new(Ledger::default());
    let serving = Serving::start(&queue, &record, 1, {
        let (ledger, bad) = (ledger.clone(), wanted[0]);
        move |work| {
            let job = work.claim.job;
            ledger.begin(job);
            assert!(job != bad, "it goes wrong");
            let ledger = ledger.clone();
            async move {
                ledger.end(job);
                Ok(())
            }
        }
    });

    record.commit(&wanted);

    until("the others were handled", async || ledger.all_ended(&wanted[1..])).await;
    assert_eq!((ledger.begun(wanted[0]), ledger.ended(wanted[0])), (1, 0));
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_claimed_ahead_of_the_slots_waits_for_one() {
    let (queue, record) = (on_memory(), Record::new());
    let wanted = tasks(3_000);
    let ledger = Arc::new(Ledger::default());
    let running = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let serving = Serving::start(&queue, &record, 4, {
        let (ledger, running) = (ledger.clone(), running.clone());
        move |work| {
            let (ledger, running) = (ledger.clone(), running.clone());
            async move {
                let now = running.0.fetch_add(1, Ordering::SeqCst) + 1;
                running.1.fetch_max(now, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.0.fetch_sub(1, Ordering::SeqCst);
                ledger.end(work.claim.job);
                Ok(())
            }
        }
    });

    record.commit(&wanted);

    until("all were handled", async || ledger.all_ended(&wanted)).await;
    serving.end().await;
    assert!(wanted.iter().all(|job| ledger.ended(*job) == 1));
    assert_eq!(running.1.load(Ordering::SeqCst), 4);
    // Without anything ahead it takes one for every four.
    assert!(record.claims() < 750, "{}", record.claims());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_claimed_ahead_of_long_work_is_given_back() {
    let (queue, record) = (on_memory(), Record::new());
    let (quick, long) = (tasks(3_000), tasks(50));
    let (ledger, gate) = (Arc::new(Ledger::default()), Arc::new(Semaphore::new(0)));
    let is_quick: HashSet<Job> = quick.iter().copied().collect();
    record.put(&quick, 1);
    record.put(&long, 1);
    let serving = Serving::start(&queue, &record, 2, {
        let (ledger, gate, is_quick) = (ledger.clone(), gate.clone(), Arc::new(is_quick));
        move |work| {
            let (ledger, gate, is_quick) = (ledger.clone(), gate.clone(), is_quick.clone());
            async move {
                ledger.begin(work.claim.job);
                if !is_quick.contains(&work.claim.job) {
                    gate.acquire().await.unwrap().forget();
                }
                ledger.end(work.claim.job);
                Ok(())
            }
        }
    });

    until("some are given back", async || !record.given_back().is_empty()).await;
    until("nothing but what runs is held", async || {
        let ended = quick.iter().filter(|job| ledger.ended(**job) == 1).count();
        serving.busy() == 2 && ended + record.left() + 2 == quick.len() + long.len()
    })
    .await;
    gate.add_permits(long.len());

    until("all were handled", async || ledger.all_ended(&quick) && ledger.all_ended(&long)).await;
    serving.end().await;
    assert!(quick.iter().chain(&long).all(|job| ledger.begun(*job) == 1));
}

#[tokio::test]
async fn at_the_stop_what_runs_may_end_and_nothing_more_is_claimed() {
    let (queue, record) = (on_memory(), Record::new());
    let (ledger, gate) = (Arc::new(Ledger::default()), Arc::new(Semaphore::new(0)));
    let wanted = tasks(5);
    record.commit(&wanted);
    let mut serving = Serving::start(&queue, &record, 2, gated(&ledger, &gate));
    until("two run", async || serving.busy() == 2).await;

    serving.stop.cancel();

    assert!(serving.program.try_join_next().is_none(), "it waits for its handlers");
    gate.add_permits(5);
    serving.end().await;
    assert!(ledger.all_ended(&wanted[..2]));
    assert_eq!((record.left(), record.given_back()), (3, Vec::new()));
    assert_eq!(ledger.broken_off(), 0);
}

#[tokio::test]
async fn what_was_claimed_and_not_begun_at_the_stop_is_given_back() {
    let (queue, record) = (on_memory(), Record::new());
    let (ledger, gate) = (Arc::new(Ledger::default()), Arc::new(Semaphore::new(0)));
    let wanted = tasks(3);
    let claims = record.hold_claims();
    record.commit(&wanted);
    let serving = Serving::start(&queue, &record, 3, gated(&ledger, &gate));
    until("it claims", async || record.claims() == 1).await;

    serving.stop.cancel();
    claims.add_permits(1);
    serving.end().await;

    let mut given_back = record.given_back();
    given_back.sort();
    let mut all = wanted.clone();
    all.sort();
    assert_eq!(given_back, all);
    assert!(wanted.iter().all(|job| ledger.begun(*job) == 0));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_never_returns_is_seen_and_does_not_hold_up_the_end() {
    let (queue, record) = (on_memory(), Record::new());
    let (ledger, gate) = (Arc::new(Ledger::default()), Arc::new(Semaphore::new(1)));
    let serving = Serving::start(&queue, &record, 1, gated(&ledger, &gate));
    let wanted = tasks(1);
    record.commit(&wanted);
    until("it was handled", async || ledger.all_ended(&wanted)).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    let idle = serving.pulse.stalled(Duration::from_secs(60));

    let _never = record.hold_claims();
    tokio::time::sleep(Duration::from_secs(70)).await;

    assert!(idle.is_empty(), "{idle:?}");
    assert_eq!(serving.pulse.stalled(Duration::from_secs(60)), ["claiming tasks"]);
    serving.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_program_whose_slots_are_taken_for_long_does_not_stand_still() {
    let (queue, record) = (on_memory(), Record::new());
    let (ledger, gate) = (Arc::new(Ledger::default()), Arc::new(Semaphore::new(0)));
    let serving = Serving::start(&queue, &record, 1, gated(&ledger, &gate));
    record.commit(&tasks(2));
    until("one runs", async || serving.busy() == 1).await;

    tokio::time::sleep(Duration::from_secs(300)).await;

    assert!(serving.pulse.stalled(Duration::from_secs(10)).is_empty());
    gate.add_permits(2);
    serving.end().await;
}

#[tokio::test]
async fn a_program_that_is_dropped_breaks_its_handlers_off() {
    struct Told(mpsc::UnboundedSender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send(()).ok();
        }
    }
    let (queue, record) = (on_memory(), Record::new());
    let (tell, mut told) = mpsc::unbounded_channel();
    let serving = Serving::start(&queue, &record, 1, move |_| {
        let told = Told(tell.clone());
        async move {
            let _told = told;
            std::future::pending().await
        }
    });
    record.commit(&tasks(1));
    until("it runs", async || serving.busy() == 1).await;

    drop(serving);

    told.recv().await.unwrap();
    // As by SIGKILL: nobody gives anything back.
    assert_eq!(record.given_back(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_run_in_parallel() {
    let (queue, record) = (on_memory(), Record::new());
    let both = Arc::new(std::sync::Barrier::new(2));
    let ledger = Arc::new(Ledger::default());
    let wanted = tasks(2);
    let serving = Serving::start(&queue, &record, 2, {
        let ledger = ledger.clone();
        move |work| {
            let (both, ledger) = (both.clone(), ledger.clone());
            async move {
                // Holds up a whole thread until the other handler is here too.
                tokio::task::block_in_place(|| both.wait());
                ledger.end(work.claim.job);
                Ok(())
            }
        }
    });

    record.commit(&wanted);

    until("they met", async || ledger.all_ended(&wanted)).await;
    serving.end().await;
}
