//! What every queue promises, as one suite. A package that has a queue to try puts
//! `buildfleet::queue_conformance!(open)` into a module of its tests, where `open` is an async
//! function that answers with an empty queue and whatever must live as long as it does.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{Queue, Taken, WAITING_MOST};
use crate::{
    domain::id::{BuildId, DeliveryId, HolderId, TaskId},
    draw,
    job::{Job, Lane, Notice},
};

/// Long enough that only a queue that does not answer at all needs it.
const PATIENCE: Duration = Duration::from_secs(20);
const AT_ONCE: Duration = Duration::ZERO;

/// One test for each promise.
#[macro_export]
macro_rules! queue_conformance {
    ($open:path) => {
        $crate::queue_conformance! { $open:
            jobs_come_in_the_order_in_which_they_were_pushed
            lanes_do_not_mix
            a_job_that_waits_is_not_put_in_again
            a_job_that_was_taken_can_be_pushed_again_at_once
            a_job_that_is_done_with_does_not_come_again
            a_job_that_was_put_back_comes_after_those_that_waited
            a_job_that_was_put_back_and_pushed_comes_once
            what_others_hold_too_long_is_taken_over
            what_others_took_just_now_is_not_taken_over
            receipts_that_are_not_known_are_passed_over
            who_waits_is_woken_by_a_push
            who_waits_in_vain_is_told_so
            nobody_gets_what_was_not_asked_for
            many_takers_get_each_job_once
            ten_thousand_jobs_go_in_at_once
            a_lane_that_is_full_takes_in_nothing_more
            a_taker_that_leaves_takes_nothing_along
            a_notice_is_heard_by_all_who_listen
            a_notice_that_nobody_hears_is_no_fault
        }
    };
    ($open:path: $($promise:ident)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let (queue, _alive) = $open().await;
            $crate::queue::conformance::$promise(&queue).await;
        }
    )+};
}

fn tasks(count: usize) -> Vec<Job> {
    (0..count).map(|_| Job::Task(draw::id::<TaskId>())).collect()
}

fn holder() -> HolderId {
    draw::id()
}

fn jobs(taken: &[Taken]) -> Vec<Job> {
    taken.iter().map(|one| one.job).collect()
}

fn receipts(taken: &[Taken]) -> Vec<String> {
    taken.iter().map(|one| one.receipt.clone()).collect()
}

async fn take(queue: &impl Queue, most: usize) -> Vec<Taken> {
    queue.take(Lane::Tasks, holder(), most, AT_ONCE).await.expect("the queue answers")
}

pub async fn jobs_come_in_the_order_in_which_they_were_pushed(queue: &impl Queue) {
    let wanted = tasks(7);

    assert_eq!(queue.push(&wanted[..3]).await.expect("pushed"), 3);
    assert_eq!(queue.push(&wanted[3..]).await.expect("pushed"), 4);

    assert_eq!(queue.depth(Lane::Tasks).await.expect("counted"), 7);
    assert_eq!(jobs(&take(queue, 2).await), wanted[..2]);
    assert_eq!(queue.depth(Lane::Tasks).await.expect("counted"), 5);
    assert_eq!(jobs(&take(queue, 10).await), wanted[2..]);
    assert_eq!(queue.depth(Lane::Tasks).await.expect("counted"), 0);
}

pub async fn lanes_do_not_mix(queue: &impl Queue) {
    let plan = Job::Plan(draw::id::<BuildId>());
    let task = Job::Task(draw::id::<TaskId>());
    let delivery = Job::Delivery(draw::id::<DeliveryId>());

    assert_eq!(queue.push(&[task, delivery, plan]).await.expect("pushed"), 3);

    for (lane, job) in [(Lane::Plans, plan), (Lane::Tasks, task), (Lane::Deliveries, delivery)] {
        assert_eq!(queue.depth(lane).await.expect("counted"), 1);
        let taken = queue.take(lane, holder(), 10, AT_ONCE).await.expect("taken");
        assert_eq!(jobs(&taken), [job]);
    }
}

pub async fn a_job_that_waits_is_not_put_in_again(queue: &impl Queue) {
    let wanted = tasks(2);

    assert_eq!(queue.push(&wanted[..1]).await.expect("pushed"), 1);
    assert_eq!(queue.push(&[wanted[0], wanted[1], wanted[1]]).await.expect("pushed"), 1);

    assert_eq!(queue.depth(Lane::Tasks).await.expect("counted"), 2);
    assert_eq!(jobs(&take(queue, 10).await), wanted);
}

pub async fn a_job_that_was_taken_can_be_pushed_again_at_once(queue: &impl Queue) {
    let wanted = tasks(1);
    queue.push(&wanted).await.expect("pushed");
    let first = take(queue, 1).await;

    assert_eq!(queue.push(&wanted).await.expect("pushed"), 1);
    assert_eq!(queue.push(&wanted).await.expect("pushed"), 0);

    // The one that is done with is the one that was taken, not the one that waits.
    queue.done(Lane::Tasks, &receipts(&first)).await.expect("told");
    assert_eq!(queue.push(&wanted).await.expect("pushed"), 0);
    assert_eq!(jobs(&take(queue, 10).await), wanted);
    assert_eq!(queue.push(&wanted).await.expect("pushed"), 1);
}

pub async fn a_job_that_is_done_with_does_not_come_again(queue: &impl Queue) {
    queue.push(&tasks(3)).await.expect("pushed");
    let taken = take(queue, 3).await;

    queue.done(Lane::Tasks, &receipts(&taken)).await.expect("told");

    assert_eq!(take(queue, 10).await, []);
    let over = queue.take_over(Lane::Tasks, holder(), AT_ONCE, 10).await.expect("asked");
    assert_eq!(over, []);
    assert_eq!(queue.depth(Lane::Tasks).await.expect("counted"), 0);
}

pub async fn a_job_that_was_put_back_comes_after_those_that_waited(queue: &impl Queue) {
    let wanted = tasks(3);
    queue.push(&wanted).await.expect("pushed");
    let taken = take(queue, 1).await;

    queue.put_back(Lane::Tasks, &receipts(&taken)).await.expect("told");

    assert_eq!(queue.depth(Lane::Tasks).await.expect("counted"), 3);
    assert_eq!(jobs(&take(queue, 10).await), [wanted[1], wanted[2], wanted[0]]);
}

pub async fn a_job_that_was_put_back_and_pushed_comes_once(queue: &impl Queue) {
    let wanted = tasks(1);
    queue.push(&wanted).await.expect("pushed");
    let taken = take(queue, 1).await;
    queue.push(&wanted).await.expect("pushed");

    queue.put_back(Lane::Tasks, &receipts(&taken)).await.expect("told");
    queue.put_back(Lane::Tasks, &receipts(&taken)).await.expect("told again");

    assert_eq!(queue.push(&wanted).await.expect("pushed"), 0);
    assert_eq!(jobs(&take(queue, 10).await), wanted);
}

pub async fn what_others_hold_too_long_is_taken_over(queue: &impl Queue) {
    let wanted = tasks(3);
    queue.push(&wanted).await.expect("pushed");
    take(queue, 3).await;

    let heir = holder();
    let first = queue.take_over(Lane::Tasks, heir, AT_ONCE, 2).await.expect("taken over");
    assert_eq!(jobs(&first), wanted[..2]);
    queue.done(Lane::Tasks, &receipts(&first)).await.expect("told");

    let rest = queue.take_over(Lane::Tasks, heir, AT_ONCE, 2).await.expect("taken over");
    assert_eq!(jobs(&rest), wanted[2..]);
    queue.put_back(Lane::Tasks, &receipts(&rest)).await.expect("told");
    assert_eq!(jobs(&take(queue, 10).await), wanted[2..]);
}

pub async fn what_others_took_just_now_is_not_taken_over(queue: &impl Queue) {
    queue.push(&tasks(3)).await.expect("pushed");
    take(queue, 2).await;

    let over = queue.take_over(Lane::Tasks, holder(), PATIENCE, 10).await.expect("asked");

    assert_eq!(over, []);
    // Neither is what nobody has taken.
    assert_eq!(take(queue, 10).await.len(), 1);
}

pub async fn receipts_that_are_not_known_are_passed_over(queue: &impl Queue) {
    queue.push(&tasks(2)).await.expect("pushed");
    let taken = take(queue, 1).await;
    queue.done(Lane::Tasks, &receipts(&taken)).await.expect("told");
    let unknown = [taken[0].receipt.clone(), "1-1".to_owned()];

    queue.done(Lane::Tasks, &unknown).await.expect("passed over");
    queue.put_back(Lane::Tasks, &unknown).await.expect("passed over");

    assert_eq!(queue.depth(Lane::Tasks).await.expect("counted"), 1);
    assert_eq!(take(queue, 10).await.len(), 1);
}

pub async fn who_waits_is_woken_by_a_push(queue: &impl Queue) {
    let begun = Instant::now();
    for wanted in tasks(20) {
        let waiting = queue.take(Lane::Tasks, holder(), 1, PATIENCE);
        let pushing = async {
            // Lets the other side begin to wait; in which order they meet does not matter.
            tokio::task::yield_now().await;
            queue.push(&[wanted]).await
        };

        let (taken, pushed) = tokio::join!(waiting, pushing);

        assert_eq!(jobs(&taken.expect("taken")), [wanted]);
        assert_eq!(pushed.expect("pushed"), 1);
    }
    // A queue that looked again now and then would need some of its waits twenty times.
    assert!(begun.elapsed() < PATIENCE / 2, "twenty pushes took {:?}", begun.elapsed());
}

pub async fn who_waits_in_vain_is_told_so(queue: &impl Queue) {
    let wait = Duration::from_millis(30);
    let begun = Instant::now();

    let taken = queue.take(Lane::Tasks, holder(), 1, wait).await.expect("answered");

    assert_eq!(taken, []);
    // Redis counts whole milliseconds, and may begin to count before we do.
    assert!(begun.elapsed() >= wait - Duration::from_millis(5), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

pub async fn nobody_gets_what_was_not_asked_for(queue: &impl Queue) {
    queue.push(&tasks(1)).await.expect("pushed");

    let none = queue.take(Lane::Tasks, holder(), 0, PATIENCE).await.expect("answered");

    assert_eq!(none, []);
    assert_eq!(queue.push(&[]).await.expect("answered"), 0);
    queue.done(Lane::Tasks, &[]).await.expect("answered");
    queue.put_back(Lane::Tasks, &[]).await.expect("answered");
    queue.ping().await.expect("answered");
    assert_eq!(queue.depth(Lane::Tasks).await.expect("counted"), 1);
}

pub async fn many_takers_get_each_job_once(queue: &impl Queue) {
    let wanted = tasks(600);
    let taker = async || {
        let holder = holder();
        let mut mine = Vec::new();
        loop {
            let wait = Duration::from_millis(200);
            let taken = queue.take(Lane::Tasks, holder, 7, wait).await.expect("taken");
            if taken.is_empty() {
                return mine;
            }
            queue.done(Lane::Tasks, &receipts(&taken)).await.expect("told");
            mine.extend(jobs(&taken));
        }
    };
    let pushing = async {
        for some in wanted.chunks(50) {
            queue.push(some).await.expect("pushed");
        }
        Vec::<Job>::new()
    };

    let (a, b, c, d, e, _) = tokio::join!(taker(), taker(), taker(), taker(), taker(), pushing);

    let all: Vec<Job> = [a, b, c, d, e].concat();
    assert_eq!(all.len(), wanted.len());
    assert_eq!(all.into_iter().collect::<HashSet<_>>(), wanted.into_iter().collect());
}

pub async fn ten_thousand_jobs_go_in_at_once(queue: &impl Queue) {
    let wanted = tasks(10_000);

    assert_eq!(queue.push(&wanted).await.expect("pushed"), 10_000);
    assert_eq!(queue.push(&wanted).await.expect("pushed"), 0);

    assert_eq!(queue.depth(Lane::Tasks).await.expect("counted"), 10_000);
    let taken = take(queue, 20_000).await;
    assert_eq!(jobs(&taken), wanted);
    queue.put_back(Lane::Tasks, &receipts(&taken)).await.expect("told");
    assert_eq!(queue.depth(Lane::Tasks).await.expect("counted"), 10_000);
}

pub async fn a_lane_that_is_full_takes_in_nothing_more(queue: &impl Queue) {
    let wanted = tasks(WAITING_MOST + 1_500);
    let most = WAITING_MOST as u64;

    assert_eq!(queue.push(&wanted).await.expect("pushed"), WAITING_MOST);
    assert_eq!(queue.push(&wanted).await.expect("refused"), 0);
    assert_eq!(queue.depth(Lane::Tasks).await.expect("counted"), most);

    // What is held leaves room, and has its place when it comes back.
    let taken = take(queue, 2).await;
    assert_eq!(jobs(&taken), wanted[..2]);
    assert_eq!(queue.push(&wanted[WAITING_MOST..]).await.expect("pushed"), 2);
    queue.put_back(Lane::Tasks, &receipts(&taken)).await.expect("told");
    assert_eq!(queue.depth(Lane::Tasks).await.expect("counted"), most + 2);
    assert_eq!(queue.push(&tasks(1)).await.expect("refused"), 0);
    // Other lanes have room of their own.
    let plan = Job::Plan(draw::id::<BuildId>());
    assert_eq!(queue.push(&[plan]).await.expect("pushed"), 1);
}

pub async fn a_taker_that_leaves_takes_nothing_along(queue: &impl Queue) {
    let wanted = tasks(1);
    {
        let leaving = queue.take(Lane::Tasks, holder(), 1, Duration::from_millis(500));
        // Until the read has begun, and is then dropped.
        tokio::time::timeout(Duration::from_millis(50), leaving).await.expect_err("nothing there");
    }

    queue.push(&wanted).await.expect("pushed");

    let taken = queue.take(Lane::Tasks, holder(), 1, PATIENCE).await.expect("taken");
    assert_eq!(jobs(&taken), wanted);
}

pub async fn a_notice_is_heard_by_all_who_listen(queue: &impl Queue) {
    let mut listeners = [queue.notices(), queue.notices()];
    let first = Notice::Recalled(draw::id());

    // Who begins to listen may take a moment until he hears.
    for listener in &mut listeners {
        let begun = Instant::now();
        loop {
            queue.notify(&[first]).await.expect("told");
            let heard = tokio::time::timeout(Duration::from_millis(100), listener.recv()).await;
            if heard.is_ok_and(|heard| heard.expect("the queue is there") == first) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "nothing heard for {PATIENCE:?}");
        }
    }

    let wanted: Vec<_> = (0..200).map(|_| Notice::Recalled(draw::id())).collect();
    queue.notify(&wanted).await.expect("told");
    for listener in &mut listeners {
        let hearing = async {
            let mut heard = Vec::new();
            while heard.len() < wanted.len() {
                let notice = listener.recv().await.expect("the queue is there");
                if notice != first {
                    heard.push(notice);
                }
            }
            heard
        };
        let heard = tokio::time::timeout(PATIENCE, hearing).await.expect("all are heard");
        assert_eq!(heard, wanted);
    }
}

pub async fn a_notice_that_nobody_hears_is_no_fault(queue: &impl Queue) {
    drop(queue.notices());

    queue.notify(&[Notice::Recalled(draw::id())]).await.expect("told");
    queue.notify(&[]).await.expect("told");
}
