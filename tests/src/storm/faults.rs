//! What is done to the workers and to what they stand on, as dice choose.

use std::time::{Duration, Instant};

use rand::{RngExt, rngs::StdRng};

use super::{clock, ground::Ground};
use crate::programs::Program;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Killed { process: u32 },
    Frozen { process: u32 },
    RedisFlushed,
    RedisRestarted,
    PostgresRestarted,
}

/// A fault with when it was done, in microseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    pub fault: Fault,
    pub at: i64,
}

/// Workers that are badly treated.
pub struct Crowd {
    workers: Vec<(Program, Option<Instant>)>,
    dice: StdRng,
    pub done: Vec<Done>,
    /// Workers that could not start, since Postgres or Redis was away just then.
    pub unstarted: usize,
}

impl Crowd {
    pub fn start(ground: &Ground, count: usize, dice: StdRng) -> Self {
        let workers = (0..count).map(|_| (ground.start(WORKER), None)).collect();
        Self { workers, dice, done: Vec::new(), unstarted: 0 }
    }

    /// A second of faults: one worker is killed or frozen; Redis and Postgres suffer now and then.
    pub async fn second(&mut self, ground: &mut Ground) {
        let place = self.dice.random_range(0..self.workers.len());
        let offset = Duration::from_millis(self.dice.random_range(0..1000));
        let (kind, other) = (self.dice.random_range(0..3), self.dice.random_range(0..90));
        let frozen_for =
            Duration::from_secs(ground.lease).mul_f64(self.dice.random_range(0.1..1.5));
        let away = Duration::from_millis(self.dice.random_range(0..600));

        tokio::time::sleep(offset).await;
        // Somebody must be left who works.
        let frozen = self.workers.iter().filter(|(_, until)| until.is_some()).count();
        if kind == 0 && self.workers[place].1.is_none() && frozen * 2 < self.workers.len() {
            self.freeze(place, frozen_for);
        } else {
            self.kill(ground, place);
        }
        match other {
            0..5 => {
                self.note(Fault::RedisFlushed);
                ground.redis.command::<()>(&["FLUSHALL"]);
            }
            5..9 => {
                self.note(Fault::RedisRestarted);
                ground.redis.kill();
                tokio::time::sleep(away).await;
                ground.redis.up();
            }
            9 => {
                self.note(Fault::PostgresRestarted);
                tokio::task::block_in_place(|| ground.postgres.restart());
            }
            _ => {}
        }
        self.thaw(Instant::now());
        self.complete(ground);
        tokio::time::sleep(Duration::from_secs(1).saturating_sub(offset)).await;
    }

    fn kill(&mut self, ground: &Ground, place: usize) {
        self.note(Fault::Killed { process: self.workers[place].0.id() });
        if self.workers[place].0.kill_if_alive().is_some() {
            self.count_unstarted(place);
        }
        self.workers[place] = (ground.start(WORKER), None);
    }

    /// Starts those again that could not start.
    pub fn complete(&mut self, ground: &Ground) {
        for place in 0..self.workers.len() {
            if self.workers[place].0.has_ended().is_some() {
                self.count_unstarted(place);
                self.workers[place] = (ground.start(WORKER), None);
            }
        }
    }

    /// Whoever was at work once goes on, whatever Postgres and Redis go through.
    fn count_unstarted(&mut self, place: usize) {
        let worker = &self.workers[place].0;
        let at_work = format!("{WORKER}-{} is at work", worker.id());
        assert!(!worker.log().contains(&at_work), "{WORKER}-{} ended by itself", worker.id());
        self.unstarted += 1;
    }

    fn freeze(&mut self, place: usize, during: Duration) {
        let (worker, until) = &mut self.workers[place];
        *until = Some(Instant::now() + during);
        worker.signal("STOP");
        let process = worker.id();
        self.note(Fault::Frozen { process });
    }

    /// Lets go on whose time has come.
    fn thaw(&mut self, now: Instant) {
        for (worker, until) in &mut self.workers {
            if until.take_if(|until| *until <= now).is_some() {
                worker.signal("CONT");
            }
        }
    }

    /// Lets all go on.
    pub fn calm(&mut self) {
        for (worker, until) in &mut self.workers {
            if until.take().is_some() {
                worker.signal("CONT");
            }
        }
    }

    /// Tells all to end, and waits for it.
    pub async fn disband(self) {
        for (worker, _) in &self.workers {
            worker.signal("TERM");
        }
        for (worker, _) in self.workers {
            worker.ended(Duration::from_secs(60)).await;
        }
    }

    fn note(&mut self, fault: Fault) {
        self.done.push(Done { fault, at: clock::micros() });
    }
}

pub const WORKER: &str = "storm-worker";
