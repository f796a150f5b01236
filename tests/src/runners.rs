//! A runner on a script, which remembers what it did.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use buildfleet::{
    domain::attempt::{Failure, Output, OutputFile},
    store::TaskClaim,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use worker::task::runner::Runner;

/// What one attempt at a task does.
#[derive(Debug, Clone)]
pub enum Act {
    Succeed,
    Fail(Failure),
    Panic,
    /// Waits until it is released, then succeeds.
    Hold,
    /// Never comes to an end.
    Hang,
    /// Goes on until it is told to end, and does.
    Heed,
    /// Writes this path too, beside what it declared.
    AlsoWrite(&'static str),
}

impl Act {
    pub fn transient() -> Self {
        Act::Fail(Failure::transient("flaky", "the wind blew"))
    }

    pub fn permanent() -> Self {
        Act::Fail(Failure::permanent("hopeless", "there is no template for this"))
    }
}

/// How an attempt went, as the runner saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    Begun,
    Ended,
    /// Heard that it shall come to its end.
    Told,
    /// Dropped before it came to an end.
    BrokenOff,
}

type Log = Arc<Mutex<Vec<(String, u32, Went)>>>;

/// Does one act of a task's script at each attempt; after the last one it succeeds.
#[derive(Default)]
pub struct Scripted {
    acts: Mutex<HashMap<String, VecDeque<Act>>>,
    gates: Mutex<HashMap<String, Arc<Semaphore>>>,
    log: Log,
}

impl Scripted {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn on(self, key: &str, acts: impl IntoIterator<Item = Act>) -> Self {
        self.acts.lock().unwrap().entry(key.to_owned()).or_default().extend(acts);
        self
    }

    /// Lets one attempt go on that holds, or the next that will.
    pub fn release(&self, key: &str) {
        self.gate(key).add_permits(1);
    }

    /// How many attempts at a task went like this.
    pub fn count(&self, key: &str, wanted: Went) -> usize {
        let log = self.log.lock().unwrap();
        log.iter().filter(|(other, _, went)| other == key && *went == wanted).count()
    }

    /// The keys of the tasks in the order in which they were begun.
    pub fn begun(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|(.., went)| *went == Went::Begun).map(|(key, ..)| key.clone()).collect()
    }

    fn gate(&self, key: &str) -> Arc<Semaphore> {
        let mut gates = self.gates.lock().unwrap();
        gates.entry(key.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(0))).clone()
    }

    fn next(&self, key: &str) -> Act {
        let mut acts = self.acts.lock().unwrap();
        acts.get_mut(key).and_then(VecDeque::pop_front).unwrap_or(Act::Succeed)
    }
}

/// Writes down how an attempt went, also if it is dropped.
struct Attempt {
    key: String,
    number: u32,
    ended: bool,
    log: Log,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let went = if self.ended { Went::Ended } else { Went::BrokenOff };
        // A poisoned log only means that some test panicked in the middle of its own.
        if let Ok(mut log) = self.log.lock() {
            log.push((self.key.clone(), self.number, went));
        }
    }
}

#[async_trait]
impl Runner for Scripted {
    async fn run(&self, claim: &TaskClaim, end: &CancellationToken) -> Result<Output, Failure> {
        let (key, number) = (claim.key.clone(), claim.attempt);
        self.log.lock().unwrap().push((key.clone(), number, Went::Begun));
        let mut attempt = Attempt { key, number, ended: false, log: Arc::clone(&self.log) };
        let mut also = None;
        match self.next(&claim.key) {
            Act::Succeed => {}
            Act::Fail(failure) => {
                attempt.ended = true;
                return Err(failure);
            }
            Act::Panic => panic!("the runner lost its head"),
            Act::Hold => {
                let gate = self.gate(&claim.key);
                gate.acquire().await.expect("gates stay open").forget();
            }
            Act::Hang => std::future::pending().await,
            Act::Heed => {
                end.cancelled().await;
                self.log.lock().unwrap().push((claim.key.clone(), number, Went::Told));
                attempt.ended = true;
                return Err(Failure::permanent("told_to_end", "it was told to end"));
            }
            Act::AlsoWrite(path) => also = Some(path.to_owned()),
        }
        attempt.ended = true;
        let content = format!("{} by attempt {}\n", claim.key, claim.attempt);
        let files = claim
            .writes
            .iter()
            .cloned()
            .chain(also)
            .map(|path| OutputFile { path, content: content.clone() })
            .collect();
        Ok(Output { files, logs: vec![format!("did {}", claim.key)], ..Output::default() })
    }
}
