//! What the waker promises, and who is woken by what: all without looking.

use buildfleet::store::Bell;
use tokio::sync::{Semaphore, mpsc};

use super::*;

/// A waker alone.
struct Waking {
    bell: Bell,
    stop: CancellationToken,
    program: JoinSet<()>,
}

impl Waking {
    fn start(queue: &Arc<dyn Queue>) -> Self {
        let (bell, stop) = (Bell::default(), CancellationToken::new());
        let pulse = Pulse::default();
        let waker =
            Waker::new(bell.clone(), queue.clone(), Keepers::default(), pulse.watch("waking"));
        let mut program = JoinSet::new();
        program.spawn(waker.run(stop.clone()));
        Self { bell, stop, program }
    }

    async fn end(mut self) {
        self.stop.cancel();
        self.program.join_next().await.expect("it ran").expect("it did not panic");
    }
}

async fn depth(queue: &Arc<dyn Queue>) -> usize {
    queue.depth(Lane::Tasks).await.unwrap() as usize
}

#[tokio::test]
async fn what_the_bell_rang_for_is_pushed_at_once_and_in_order() {
    let queue = on_memory();
    let waking = Waking::start(&queue);
    for _ in 0..20 {
        let wanted = tasks(3);

        waking.bell.ring(wanted.iter().copied());

        until("they were pushed", async || depth(&queue).await == 3).await;
        let taken = queue.take(Lane::Tasks, draw::id(), 9, Duration::ZERO).await.unwrap();
        assert_eq!(taken.iter().map(|one| one.job).collect::<Vec<_>>(), wanted);
    }
    waking.end().await;
}

#[tokio::test]
async fn what_was_rung_for_last_is_pushed_before_the_end() {
    let queue = on_memory();
    let waking = Waking::start(&queue);

    waking.stop.cancel();
    waking.bell.ring(tasks(2));
    waking.end().await;

    assert_eq!(depth(&queue).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_away_gets_a_few_wake_ups_when_it_is_back() {
    let mut server = Server::start();
    let queue = on_redis(&server).await;
    let waking = Waking::start(&queue);
    server.kill();

    for _ in 0..100 {
        waking.bell.ring(tasks(10));
        tokio::task::yield_now().await;
    }
    server.up();

    until("it was woken", async || queue.depth(Lane::Tasks).await.is_ok_and(|depth| depth > 0))
        .await;
    assert!(depth(&queue).await <= 64, "as many as are of use, and those of the last ring");
    waking.end().await;
}

#[tokio::test]
async fn workers_that_do_not_listen_are_not_called_for_ever() {
    let queue = on_memory();
    let waking = Waking::start(&queue);

    for _ in 0..1_000 {
        waking.bell.ring(tasks(20));
        tokio::task::yield_now().await;
    }
    until("it calls no more", async || depth(&queue).await >= 256).await;
    let most = depth(&queue).await;
    // Who listens again takes all that is there, and must hear of what comes then.
    let taken = queue.take(Lane::Tasks, draw::id(), 1_000, Duration::ZERO).await.unwrap();
    let wanted = tasks(1);
    waking.bell.ring(wanted.iter().copied());
    let heard = queue.take(Lane::Tasks, draw::id(), 1_000, Duration::from_secs(30)).await.unwrap();

    assert!(most <= 512, "{most} wake-ups wait");
    assert!(taken.len() >= 256 && !heard.is_empty());
    waking.end().await;
}

async fn work_is_begun_without_looking(queue: Arc<dyn Queue>) {
    let record = Record::new();
    let ledger = Arc::new(Ledger::default());
    let serving = Serving::looking(NEVER, &queue, &record, 4, {
        let ledger = ledger.clone();
        move |work| {
            ledger.end(work.claim.job);
            async { Ok(()) }
        }
    });
    for _ in 0..20 {
        let wanted = tasks(1);
        let before = record.claims();

        record.commit(&wanted);

        until("it was handled", async || ledger.all_ended(&wanted)).await;
        assert!(record.claims() <= before + 4, "it asked all the time");
    }
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_memory_work_is_begun_without_looking() {
    work_is_begun_without_looking(on_memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_redis_work_is_begun_without_looking() {
    let server = Server::start();
    work_is_begun_without_looking(on_redis(&server).await).await;
}

#[tokio::test(start_paused = true)]
async fn work_that_waits_for_its_time_is_begun_then_without_looking() {
    let (queue, record) = (on_memory(), Record::new());
    let (tell, mut told) = mpsc::unbounded_channel();
    let serving = Serving::looking(NEVER, &queue, &record, 1, move |work| {
        tell.send((work.claim.job, tokio::time::Instant::now())).unwrap();
        async { Ok(()) }
    });
    let (job, now) = (tasks(1)[0], tokio::time::Instant::now());

    record.delay(job, Duration::from_millis(700));
    // Whoever writes such work rings, so that those who wait hear of the new time.
    record.bell.ring([job]);

    let (begun, at) = told.recv().await.unwrap();
    let after = at.duration_since(now).as_millis();
    assert_eq!(begun, job);
    assert!((700..1_000).contains(&after), "after {after} ms");
    serving.end().await;
}

#[tokio::test]
async fn whoever_hears_many_wake_ups_and_has_little_room_wakes_others() {
    let (queue, record) = (on_memory(), Record::new());
    let gate = Arc::new(Semaphore::new(0));
    let start = || {
        let gate = gate.clone();
        Serving::looking(NEVER, &queue, &record, 1, move |_| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Ok(())
            }
        })
    };
    let all = [start(), start(), start(), start()];
    until("all have looked once", async || record.claims() == 4).await;

    record.commit(&tasks(40));

    until("all are at work", async || all.iter().all(|one| one.busy() == 1)).await;
    gate.add_permits(40);
    until("all is done", async || record.left() == 0).await;
    for one in all {
        one.end().await;
    }
}

#[tokio::test]
async fn what_wants_more_slots_than_are_free_is_begun_as_soon_as_they_are() {
    let (queue, record) = (on_memory(), Record::new());
    let gate = Arc::new(Semaphore::new(0));
    let (small, large) = (tasks(1)[0], tasks(1)[0]);
    let serving = Serving::looking(NEVER, &queue, &record, 2, {
        let gate = gate.clone();
        move |_| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Ok(())
            }
        }
    });
    record.commit(&[small]);
    until("the small one runs", async || serving.busy() == 1).await;
    record.put(&[large], 2);
    record.bell.ring([large]);
    until("the large one was looked for", async || record.claims() >= 3).await;
    assert_eq!(serving.busy(), 1);

    gate.add_permits(1);

    until("the large one runs", async || serving.busy() == 2).await;
    gate.add_permits(1);
    until("nothing runs", async || serving.busy() == 0).await;
    serving.end().await;
}

/// Two programs share a record and a queue; one of them takes a lease of the other away.
async fn a_cancel_reaches_a_handler_elsewhere(queues: [Arc<dyn Queue>; 2]) {
    let record = Record::new();
    let (tell, mut told) = mpsc::unbounded_channel();
    let serving = Serving::looking(NEVER, &queues[0], &record, 1, move |work: Work<Claimed>| {
        let tell = tell.clone();
        async move {
            tell.send("begun").unwrap();
            work.lost.cancelled().await;
            tell.send("lost").unwrap();
            Ok(())
        }
    });
    let elsewhere = Waking::start(&queues[1]);
    let job = tasks(1)[0];
    record.commit(&[job]);
    assert_eq!(told.recv().await, Some("begun"));

    // A program that has not listened yet is told later; until then one says it again.
    record.lost(job);
    let heard = async {
        loop {
            elsewhere.bell.recall(record.build);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let told = tokio::select! {
        told = told.recv() => told,
        () = heard => None,
        () = tokio::time::sleep(Duration::from_secs(30)) => None,
    };

    assert_eq!(told, Some("lost"));
    elsewhere.end().await;
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_memory_a_cancel_reaches_a_handler_elsewhere() {
    let queue = on_memory();
    a_cancel_reaches_a_handler_elsewhere([queue.clone(), queue]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_redis_a_cancel_reaches_a_handler_elsewhere() {
    let server = Server::start();
    a_cancel_reaches_a_handler_elsewhere([on_redis(&server).await, on_redis(&server).await]).await;
}
