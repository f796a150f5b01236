//! The scripts against a model of a lane: random steps, on a real Redis, and after each of them all
//! that Redis holds is what the model holds.
//!
//! A failure prints the steps, made as few and as small as it still fails with. The model is
//! written for being read: what `shared/src/queue/redis/scripts` do in Redis' words stands here in
//! those of maps.

use std::collections::BTreeMap;

use buildfleet::{
    domain::id::{HolderId, TaskId},
    queue::Taken,
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::*;

/// Few enough that steps are about the same jobs again and again.
const JOBS: usize = 6;
const HOLDERS: usize = 3;
/// Few enough that the lane is full now and then.
const WAITING_MOST: usize = 4;
const CASES: u32 = 60;

/// What one does to a lane. Numbers are places in lists, counted round and round.
#[derive(Debug, Clone)]
enum Step {
    Push(Vec<usize>),
    Take {
        holder: usize,
        most: usize,
    },
    TakeOver {
        holder: usize,
        most: usize,
    },
    /// Of the entries that there ever were, so also of those that wait or are gone.
    Done(Vec<usize>),
    PutBack(Vec<usize>),
    Tidy,
    LoseStream,
    LoseNewest,
    LoseGroup,
    LoseScripts,
}

fn step() -> impl Strategy<Value = Step> {
    let some = || prop::collection::vec(0..1_000usize, 1..4);
    let (holder, most) = (|| 0..HOLDERS, || 1..4usize);
    prop_oneof![
        8 => prop::collection::vec(0..JOBS, 1..5).prop_map(Step::Push),
        6 => (holder(), most()).prop_map(|(holder, most)| Step::Take { holder, most }),
        2 => (holder(), most()).prop_map(|(holder, most)| Step::TakeOver { holder, most }),
        4 => some().prop_map(Step::Done),
        4 => some().prop_map(Step::PutBack),
        1 => Just(Step::Tidy),
        1 => Just(Step::LoseStream),
        1 => Just(Step::LoseNewest),
        1 => Just(Step::LoseGroup),
        1 => Just(Step::LoseScripts),
    ]
}

/// The name of an entry: milliseconds and a number, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id(u64, u64);

impl Id {
    fn read(text: &str) -> Self {
        let (ms, number) = text.split_once('-').unwrap();
        Self(ms.parse().unwrap(), number.parse().unwrap())
    }

    fn text(self) -> String {
        format!("{}-{}", self.0, self.1)
    }
}

/// All that there is of a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    entries: BTreeMap<Id, Job>,
    newest: BTreeMap<Job, Id>,
    group: Option<Group>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    delivered: Id,
    held: BTreeMap<Id, HolderId>,
}

impl Model {
    fn held(&self) -> usize {
        self.group.as_ref().map_or(0, |group| group.held.len())
    }

    fn waiting(&self) -> usize {
        self.entries.len() - self.held()
    }

    fn waits(&self, job: Job) -> bool {
        let delivered = self.group.as_ref().map_or(Id(0, 0), |group| group.delivered);
        self.newest
            .get(&job)
            .is_some_and(|id| *id > delivered && self.entries.get(id) == Some(&job))
    }

    /// A new entry has a name that is later than any other, until it is known what Redis calls it.
    fn put(&mut self, job: Job) -> bool {
        if self.waits(job) {
            return false;
        }
        let last = self.entries.keys().next_back().filter(|id| id.0 == u64::MAX);
        let id = Id(u64::MAX, last.map_or(0, |id| id.1 + 1));
        self.entries.insert(id, job);
        self.newest.insert(job, id);
        true
    }

    fn push(&mut self, jobs: &[Job]) -> usize {
        let mut new = 0;
        for job in jobs {
            if self.waiting() < WAITING_MOST && self.put(*job) {
                new += 1;
            }
        }
        new
    }

    fn take(&mut self, holder: HolderId, most: usize) -> Vec<Taken> {
        let group =
            self.group.get_or_insert_with(|| Group { delivered: Id(0, 0), held: BTreeMap::new() });
        let after = (std::ops::Bound::Excluded(group.delivered), std::ops::Bound::Unbounded);
        let mut taken = Vec::new();
        for (id, job) in self.entries.range(after).take(most) {
            group.delivered = *id;
            group.held.insert(*id, holder);
            taken.push(Taken { job: *job, receipt: id.text() });
        }
        taken
    }

    fn take_over(&mut self, holder: HolderId, most: usize) -> Vec<Taken> {
        let held = self.group.iter_mut().flat_map(|group| group.held.iter_mut());
        held.take(most)
            .map(|(id, by)| {
                *by = holder;
                Taken { job: self.entries[id], receipt: id.text() }
            })
            .collect()
    }

    fn done(&mut self, ids: &[Id]) {
        for id in ids {
            if let Some(job) = self.entries.remove(id) {
                if self.newest.get(&job) == Some(id) {
                    self.newest.remove(&job);
                }
                self.group.as_mut().map(|group| group.held.remove(id));
            }
        }
    }

    fn put_back(&mut self, ids: &[Id]) {
        for id in ids {
            if self.group.as_mut().is_some_and(|group| group.held.remove(id).is_some())
                && let Some(job) = self.entries.remove(id)
            {
                self.put(job);
            }
        }
    }

    /// Calls the new entries by the names that Redis gave its own, in their order.
    fn learn(&mut self, real: &Model) {
        let names: Vec<Id> =
            real.entries.keys().filter(|id| !self.entries.contains_key(id)).copied().collect();
        let unnamed: Vec<Id> = self.entries.keys().filter(|id| id.0 == u64::MAX).copied().collect();
        for (old, name) in unnamed.into_iter().zip(names) {
            if let Some(job) = self.entries.remove(&old) {
                self.entries.insert(name, job);
                if self.newest.get(&job) == Some(&old) {
                    self.newest.insert(job, name);
                }
            }
        }
    }
}

/// A lane of a real Redis beside its model.
struct Beside<'a> {
    server: &'a Server,
    queue: Redis,
    prefix: String,
    jobs: Vec<Job>,
    holders: Vec<HolderId>,
    model: Model,
    /// All entries that there ever were.
    seen: Vec<Id>,
}

impl Beside<'_> {
    fn key(&self, which: &str) -> String {
        format!("{{{}:tasks}}:{which}", self.prefix)
    }

    /// Reads a lane out of Redis.
    fn real(&self) -> Model {
        let (stream, newest) = (self.key("s"), self.key("w"));
        let all: Vec<(String, Vec<String>)> = self.server.command(&["XRANGE", &stream, "-", "+"]);
        let entries =
            all.iter().map(|(id, fields)| (Id::read(id), fields[1].parse().unwrap())).collect();
        let all: BTreeMap<String, String> = self.server.command(&["HGETALL", &newest]);
        let newest = all.iter().map(|(job, id)| (job.parse().unwrap(), Id::read(id))).collect();
        let groups =
            self.server.ask::<Vec<HashMap<String, redis::Value>>>(&["XINFO", "GROUPS", &stream]);
        let group = groups.unwrap_or_default().first().map(|group| {
            let delivered: String =
                redis::from_redis_value_ref(&group["last-delivered-id"]).unwrap();
            let all: Vec<(String, String, u64, u64)> =
                self.server.command(&["XPENDING", &stream, "bf", "-", "+", "1000"]);
            let held = all
                .iter()
                .map(|(id, holder, ..)| (Id::read(id), holder.parse().unwrap()))
                .collect();
            Group { delivered: Id::read(&delivered), held }
        });
        Model { entries, newest, group }
    }

    fn consumers(&self) -> usize {
        let stream = self.key("s");
        let all = self.server.ask::<Vec<redis::Value>>(&["XINFO", "CONSUMERS", &stream, "bf"]);
        all.unwrap_or_default().len()
    }

    fn entries(&self, places: &[usize]) -> Vec<Id> {
        let of = |place: &usize| {
            // Most of the time a recent one, since those are the ones that are still there.
            let recent = self.seen.len().min(if place.is_multiple_of(4) { 1_000 } else { 5 });
            match recent {
                0 => Id(1, 1),
                recent => self.seen[self.seen.len() - 1 - place / 4 % recent],
            }
        };
        places.iter().map(of).collect()
    }

    async fn take_step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let queue = &self.queue;
        match step {
            Step::Push(which) => {
                let jobs: Vec<Job> = which.iter().map(|job| self.jobs[*job]).collect();
                let new = queue.push(&jobs).await.unwrap();
                prop_assert_eq!(new, self.model.push(&jobs));
            }
            Step::Take { holder, most } => {
                let holder = self.holders[*holder];
                let taken = queue.take(Lane::Tasks, holder, *most, Duration::ZERO).await.unwrap();
                prop_assert_eq!(taken, self.model.take(holder, *most));
            }
            Step::TakeOver { holder, most } => {
                let (holder, any) = (self.holders[*holder], Duration::ZERO);
                let taken = queue.take_over(Lane::Tasks, holder, any, *most).await.unwrap();
                prop_assert_eq!(taken, self.model.take_over(holder, *most));
            }
            Step::Done(places) => {
                let ids = self.entries(places);
                queue.done(Lane::Tasks, &texts(&ids)).await.unwrap();
                self.model.done(&ids);
            }
            Step::PutBack(places) => {
                let ids = self.entries(places);
                queue.put_back(Lane::Tasks, &texts(&ids)).await.unwrap();
                self.model.put_back(&ids);
            }
            Step::Tidy => {
                let before = self.consumers();
                let gone = queue.remove_idle_holders(Lane::Tasks, Duration::ZERO).await.unwrap();
                let mut holding: Vec<_> =
                    self.model.group.iter().flat_map(|group| group.held.values()).collect();
                holding.sort();
                holding.dedup();
                prop_assert_eq!(self.consumers(), holding.len());
                prop_assert_eq!(gone as usize, before - holding.len());
            }
            Step::LoseStream => {
                self.server.command::<u64>(&["DEL", &self.key("s")]);
                self.model.entries.clear();
                self.model.group = None;
            }
            Step::LoseNewest => {
                self.server.command::<u64>(&["DEL", &self.key("w")]);
                self.model.newest.clear();
            }
            Step::LoseGroup => {
                // There may be none, or not even a stream.
                self.server.ask::<u64>(&["XGROUP", "DESTROY", &self.key("s"), "bf"]).ok();
                self.model.group = None;
            }
            Step::LoseScripts => self.server.command(&["SCRIPT", "FLUSH"]),
        }
        Ok(())
    }

    async fn run(mut self, steps: &[Step]) -> Result<(), TestCaseError> {
        for step in steps {
            self.take_step(step).await?;
            let real = self.real();
            self.model.learn(&real);
            prop_assert_eq!(&self.model, &real, "after {:?}", step);
            let depth = self.queue.depth(Lane::Tasks).await.unwrap();
            prop_assert_eq!(depth as usize, self.model.waiting());
            let new = self.model.entries.keys().filter(|id| !self.seen.contains(id));
            let new: Vec<Id> = new.copied().collect();
            self.seen.extend(new);
        }
        Ok(())
    }
}

fn texts(ids: &[Id]) -> Vec<String> {
    ids.iter().map(|id| id.text()).collect()
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
    let cases = AtomicU32::new(0);

    let result = runner.run(&prop::collection::vec(step(), 1..50), |steps| {
        let prefix = format!("case{}", cases.fetch_add(1, Ordering::Relaxed));
        runtime.block_on(async {
            let queue = Redis::open_prefixed(&server.url(), &prefix).await.unwrap();
            let beside = Beside {
                server: &server,
                queue: queue.holding(WAITING_MOST),
                prefix,
                jobs: (0..JOBS).map(|_| Job::Task(draw::id::<TaskId>())).collect(),
                holders: (0..HOLDERS).map(|_| draw::id()).collect(),
                model: Model::default(),
                seen: Vec::new(),
            };
            beside.run(&steps).await
        })
    });

    if let Err(error) = result {
        panic!("{error}, after {} cases with those that made it smaller", cases.into_inner());
    }
}
