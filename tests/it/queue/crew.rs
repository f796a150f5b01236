//! A queue at work: somebody pushes, somebody takes, somebody listens, without an end and whatever
//! happens. Tests do things to the queue's Redis, and see that it all goes on by itself.

use std::collections::HashSet;

use super::*;

/// Work is pushed again after so long, as a store's does that finds it still to be done.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// How much may be under way.
const UNDER_WAY: usize = 300;
/// How long after a fault all must go on. The bar is 5 s; this machine may be busy with other
/// tests.
const RESUMES_WITHIN: Duration = Duration::from_secs(15);

pub struct Crew {
    shared: Arc<Work>,
    stop: CancellationToken,
    hands: JoinSet<()>,
}

struct Work {
    queue: Redis,
    /// What was pushed and not yet taken.
    wanted: Mutex<HashSet<Job>>,
    taken: AtomicU32,
    pushing_fails: std::sync::atomic::AtomicBool,
    heard: Mutex<HashSet<Notice>>,
}

impl Crew {
    pub fn start(queue: Redis) -> Self {
        let shared = Arc::new(Work {
            queue,
            wanted: Mutex::default(),
            taken: AtomicU32::new(0),
            pushing_fails: false.into(),
            heard: Mutex::default(),
        });
        let (stop, mut hands) = (CancellationToken::new(), JoinSet::new());
        for hand in 0..4 {
            let (work, stop) = (shared.clone(), stop.clone());
            hands.spawn(async move {
                let working = async {
                    match hand {
                        0 => work.push().await,
                        1 => work.listen().await,
                        _ => work.take().await,
                    }
                };
                tokio::select! {
                    () = working => {}
                    () = stop.cancelled() => {}
                }
            });
        }
        Self { shared, stop, hands }
    }

    /// All that is under way is taken, and more, and notices are heard.
    pub async fn goes_on(&self, when: &str) {
        let begun = Instant::now();
        let before = self.shared.wanted.lock().unwrap().clone();
        let taken = self.shared.taken.load(Ordering::Relaxed);
        let notice = Notice::Recalled(draw::id());
        let mut told = Instant::now();
        let mut parts = [None; 3];
        while parts.iter().any(Option::is_none) {
            let now = Some(begun.elapsed());
            if parts[0].is_none() && self.shared.wanted.lock().unwrap().is_disjoint(&before) {
                parts[0] = now;
            }
            if parts[1].is_none() && self.shared.taken.load(Ordering::Relaxed) >= taken + 50 {
                parts[1] = now;
            }
            if parts[2].is_none() && self.shared.heard.lock().unwrap().contains(&notice) {
                parts[2] = now;
            }
            if told.elapsed() > Duration::from_millis(50) {
                self.shared.queue.notify(&[notice]).await.ok();
                told = Instant::now();
            }
            assert!(
                begun.elapsed() < RESUMES_WITHIN,
                "{when}: old work, new work and notices came after {parts:?}"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        println!("{when}: old work, new work and notices came after {parts:?}");
    }

    /// Pushing fails, or nothing is taken.
    pub async fn stalls(&self) {
        until("it stalls", async || self.shared.pushing_fails.load(Ordering::Relaxed)).await;
    }

    pub async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.hands.join_next().await {
            ended.expect("nothing panicked");
        }
    }
}

impl Work {
    async fn push(&self) {
        let mut all_at = Instant::now();
        loop {
            let mut jobs: Vec<Job> = Vec::new();
            {
                let mut wanted = self.wanted.lock().unwrap();
                if all_at.elapsed() > AGAIN_AFTER {
                    jobs.extend(wanted.iter());
                    all_at = Instant::now();
                }
                if wanted.len() < UNDER_WAY {
                    jobs.extend(tasks(5));
                }
                wanted.extend(&jobs);
            }
            let pushed = self.queue.push(&jobs).await;
            self.pushing_fails.store(pushed.is_err(), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn take(&self) {
        let holder = draw::id();
        loop {
            match self.queue.take(Lane::Tasks, holder, 20, Duration::from_secs(1)).await {
                Ok(taken) => {
                    for one in &taken {
                        if self.wanted.lock().unwrap().remove(&one.job) {
                            self.taken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    let receipts: Vec<_> = taken.into_iter().map(|one| one.receipt).collect();
                    self.queue.done(Lane::Tasks, &receipts).await.ok();
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn listen(&self) {
        let mut notices = self.queue.notices();
        loop {
            if let Ok(notice) = notices.recv().await {
                self.heard.lock().unwrap().insert(notice);
            }
        }
    }
}
