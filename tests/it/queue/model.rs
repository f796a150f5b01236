//! The scripts against a model of a lane: random steps, on a real Redis, and after each of them all
//! that Redis holds is what the model holds.
//!
//! A failure prints the steps, made as few and as small as it still fails with. The model is
//! written for being read: what `shared/src/queue/redis/scripts` do in Redis' words stands here in
//! those of maps.

use std::collections::{BTreeMap, BTreeSet};

use buildfleet::{domain::id::TaskId, queue::Taken};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::*;

/// Few enough that steps are about the same jobs again and again.
const JOBS: usize = 6;
/// Few enough that the lane is full now and then.
const WAITING_MOST: usize = 4;
const CASES: u32 = 60;

/// What one does to a lane. Numbers are places in lists, counted round and round.
#[derive(Debug, Clone)]
enum Step {
    Push(Vec<usize>),
    Take(usize),
    TakeOver(usize),
    /// Of the receipts that there ever were, so also of those that are done with.
    Done(Vec<usize>),
    PutBack(Vec<usize>),
    Lose(&'static str),
    LoseScripts,
}

fn step() -> impl Strategy<Value = Step> {
    let some = || prop::collection::vec(0..1_000usize, 1..4);
    prop_oneof![
        8 => prop::collection::vec(0..JOBS, 1..5).prop_map(Step::Push),
        6 => (1..4usize).prop_map(Step::Take),
        2 => (1..4usize).prop_map(Step::TakeOver),
        4 => some().prop_map(Step::Done),
        4 => some().prop_map(Step::PutBack),
        2 => prop::sample::select(&["q", "m", "h", "b"][..]).prop_map(Step::Lose),
        1 => Just(Step::LoseScripts),
    ]
}

/// All that there is of a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    waiting: Vec<Job>,
    same: BTreeSet<Job>,
    /// By receipt: the job, and when it was taken, in milliseconds.
    held: BTreeMap<String, (Job, u64)>,
    is_rung: bool,
}

impl Model {
    fn put(&mut self, jobs: &[Job], waiting_most: usize) -> usize {
        if self.waiting.len() != self.same.len() {
            self.same = self.waiting.iter().copied().collect();
        }
        let before = self.waiting.len();
        for job in jobs {
            if self.waiting.len() < waiting_most && self.same.insert(*job) {
                self.waiting.push(*job);
            }
        }
        self.is_rung |= before == 0 && !self.waiting.is_empty();
        self.waiting.len() - before
    }

    fn take(&mut self, most: usize) -> Vec<Job> {
        let taken: Vec<_> = self.waiting.drain(..most.min(self.waiting.len())).collect();
        for job in &taken {
            self.same.remove(job);
        }
        if taken.is_empty() {
            self.is_rung = false;
        }
        self.is_rung |= !self.waiting.is_empty();
        taken
    }

    /// Of those that are held, the first to be taken over.
    fn oldest(&self, most: usize) -> Vec<String> {
        let mut held: Vec<_> =
            self.held.iter().map(|(receipt, (_, since))| (*since, receipt.clone())).collect();
        held.sort();
        held.into_iter().take(most).map(|(_, receipt)| receipt).collect()
    }

    fn let_go(&mut self, receipts: &[String]) -> Vec<Job> {
        receipts.iter().filter_map(|receipt| Some(self.held.remove(receipt)?.0)).collect()
    }
}

/// A lane of a real Redis beside its model.
struct Beside<'a> {
    server: &'a Server,
    queue: Redis,
    prefix: String,
    jobs: Vec<Job>,
    model: Model,
    /// All receipts that there ever were.
    seen: Vec<String>,
}

impl Beside<'_> {
    fn key(&self, which: &str) -> String {
        format!("{{{}:tasks}}:{which}", self.prefix)
    }

    /// Reads a lane out of Redis.
    fn real(&self) -> Model {
        let read = |text: &String| -> Job { text.parse().unwrap() };
        let waiting: Vec<String> = self.server.command(&["LRANGE", &self.key("q"), "0", "-1"]);
        let same: Vec<String> = self.server.command(&["SMEMBERS", &self.key("m")]);
        let held: Vec<(String, f64)> =
            self.server.command(&["ZRANGE", &self.key("h"), "0", "-1", "WITHSCORES"]);
        let bell: u64 = self.server.command(&["LLEN", &self.key("b")]);
        assert!(bell < 2, "it is rung once");
        let held = held.into_iter().map(|(receipt, since)| {
            let job = receipt.split_once(' ').unwrap().1.parse().unwrap();
            (receipt, (job, since as u64))
        });
        Model {
            waiting: waiting.iter().map(read).collect(),
            same: same.iter().map(read).collect(),
            held: held.collect(),
            is_rung: bell == 1,
        }
    }

    fn receipts(&self, places: &[usize]) -> Vec<String> {
        let of = |place: &usize| {
            // Most of the time a recent one, since those are the ones that are still held.
            let recent = self.seen.len().min(if place.is_multiple_of(4) { 1_000 } else { 5 });
            match recent {
                0 => "1-0001 nothing".to_owned(),
                recent => self.seen[self.seen.len() - 1 - place / 4 % recent].clone(),
            }
        };
        places.iter().map(of).collect()
    }

    /// The model learns what only Redis knows: the receipts, and when it was.
    fn hold(&mut self, taken: &[Taken]) -> Result<(), TestCaseError> {
        let real = self.real();
        for one in taken {
            let Some((job, since)) = real.held.get(&one.receipt) else {
                return Err(TestCaseError::fail(format!("{} is not held", one.receipt)));
            };
            prop_assert_eq!(*job, one.job);
            let before = self.model.held.insert(one.receipt.clone(), (*job, *since));
            prop_assert!(before.is_none_or(|(_, before)| before <= *since));
        }
        Ok(())
    }

    async fn take_step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let (queue, holder, any) = (&self.queue, draw::id(), Duration::ZERO);
        match step {
            Step::Push(which) => {
                let jobs: Vec<Job> = which.iter().map(|job| self.jobs[*job]).collect();
                let new = queue.push(&jobs).await.unwrap();
                prop_assert_eq!(new, self.model.put(&jobs, WAITING_MOST));
            }
            Step::Take(most) => {
                let taken = queue.take(Lane::Tasks, holder, *most, any).await.unwrap();
                let jobs: Vec<_> = taken.iter().map(|one| one.job).collect();
                prop_assert_eq!(jobs, self.model.take(*most));
                self.hold(&taken)?;
                self.seen.extend(taken.into_iter().map(|one| one.receipt));
            }
            Step::TakeOver(most) => {
                let taken = queue.take_over(Lane::Tasks, holder, any, *most).await.unwrap();
                let receipts: Vec<_> = taken.iter().map(|one| one.receipt.clone()).collect();
                prop_assert_eq!(receipts, self.model.oldest(*most));
                self.hold(&taken)?;
            }
            Step::Done(places) => {
                let receipts = self.receipts(places);
                queue.done(Lane::Tasks, &receipts).await.unwrap();
                self.model.let_go(&receipts);
            }
            Step::PutBack(places) => {
                let receipts = self.receipts(places);
                queue.put_back(Lane::Tasks, &receipts).await.unwrap();
                let jobs = self.model.let_go(&receipts);
                // They had their place before, so they have one again.
                self.model.put(&jobs, usize::MAX);
            }
            Step::Lose(which) => {
                self.server.command::<u64>(&["DEL", &self.key(which)]);
                match *which {
                    "q" => self.model.waiting.clear(),
                    "m" => self.model.same.clear(),
                    "h" => self.model.held.clear(),
                    _ => self.model.is_rung = false,
                }
            }
            Step::LoseScripts => self.server.command(&["SCRIPT", "FLUSH"]),
        }
        Ok(())
    }

    async fn run(mut self, steps: &[Step]) -> Result<(), TestCaseError> {
        for step in steps {
            self.take_step(step).await?;
            prop_assert_eq!(&self.model, &self.real(), "after {:?}", step);
            let depth = self.queue.depth(Lane::Tasks).await.unwrap();
            prop_assert_eq!(depth as usize, self.model.waiting.len());
        }
        Ok(())
    }
}

#[test]
fn whatever_is_done_to_a_lane_redis_holds_what_the_model_holds() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut seed = [0; 32];
    tests::seed::dice().fill_bytes(&mut seed);
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    // How many, and up to which all went well: making a failure smaller runs cases too.
    let (cases, well) = (AtomicU32::new(0), AtomicU32::new(0));

    let result = runner.run(&prop::collection::vec(step(), 1..50), |steps| {
        let case = cases.fetch_add(1, Ordering::Relaxed) + 1;
        let prefix = format!("case{case}");
        let result = runtime.block_on(async {
            let queue = Redis::open_prefixed(&server.url(), &prefix).await.unwrap();
            let beside = Beside {
                server: &server,
                queue: queue.holding(WAITING_MOST),
                prefix,
                jobs: (0..JOBS).map(|_| Job::Task(draw::id::<TaskId>())).collect(),
                model: Model::default(),
                seen: Vec::new(),
            };
            beside.run(&steps).await
        });
        if result.is_ok() && well.load(Ordering::Relaxed) == case - 1 {
            well.store(case, Ordering::Relaxed);
        }
        result
    });

    if let Err(error) = result {
        panic!("case {} went wrong: {error}", well.into_inner() + 1);
    }
}
