//! Those who do the work: a planner, a runner, and a dispatcher with the receiver that hears it.
//! What they do at an attempt depends on the seed, the work and the number of the attempt alone.

use std::{
    collections::BTreeMap,
    future::pending,
    slice,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use buildfleet::{
    domain::{
        attempt::{Failure, Output, OutputFile},
        brief::Brief,
        id::EndpointId,
        plan::Draft,
        retry::Policy,
        task::Operation,
    },
    draw, lease,
    queue::serve,
    store::{DeliveryClaim, Error, SendResult, Store, TaskClaim},
};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;
use worker::{
    plan::planner::{Drafted, Partials, Planner},
    task::runner::Runner,
};

use super::{chance::Chance, line::Line, shapes, witness::Witness};

/// What a scripted panic says.
pub const SCRIPTED: &str = "as the script says";

/// The lots of one attempt at one piece of work.
fn lots(seed: u64, work: Ulid, attempt: u32) -> Chance {
    // Drawn from a counter.
    let number = work.random() as u64;
    Chance::new(seed ^ 0xA77E, number << 8 | u64::from(attempt))
}

/// Plans by chance; the prompt is the number of the build.
pub struct ByChance {
    pub seed: u64,
    /// How many times each build has been planned.
    pub asked: Arc<Mutex<BTreeMap<String, u32>>>,
    pub line: Line,
}

#[async_trait]
impl Planner for ByChance {
    async fn draft(&self, brief: &Brief, partials: Partials) -> Result<Draft, Failure> {
        let asked = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let asked = asked.entry(brief.prompt.clone()).or_default();
            *asked += 1;
            *asked
        };
        let number = brief.prompt.split_whitespace().next();
        let number: u64 = number.and_then(|number| number.parse().ok()).unwrap_or_default();
        let mut chance = Chance::new(self.seed ^ 0x9147, number << 8 | u64::from(asked));
        let is_calm = self.line.world().is_calm();
        sleep(chance.millis(0, 800)).await;
        self.line.pass().await;
        if chance.once_in(3) {
            let name = "t0".to_owned();
            let first =
                Drafted { name, operation: Operation::CreateFile, description: String::new() };
            partials.tell(vec![first]).await;
            sleep(chance.millis(0, 500)).await;
        }
        match chance.below(100) {
            0..8 => Err(Failure::transient("flaky", "not now")),
            8..10 if !is_calm => pending().await,
            10..12 => panic!("{SCRIPTED}"),
            _ => Ok(shapes::draft(&brief.prompt, &mut chance)),
        }
    }
}

/// Runs by chance.
pub struct Workshop {
    pub seed: u64,
    pub line: Line,
    /// Where work asks for the end of the process that does it.
    pub poison: mpsc::UnboundedSender<usize>,
    pub process: usize,
}

#[async_trait]
impl Runner for Workshop {
    async fn run(&self, claim: &TaskClaim, end: &CancellationToken) -> Result<Output, Failure> {
        let mut chance = lots(self.seed, claim.task.ulid(), claim.attempt);
        let is_calm = self.line.world().is_calm();
        let takes = match chance.below(10) {
            0..3 => Duration::ZERO,
            3..8 => chance.millis(1, 400),
            _ => chance.millis(400, 5000),
        };
        tokio::select! {
            biased;
            () = sleep(takes) => {}
            () = end.cancelled(), if !chance.once_in(4) => {
                return Err(Failure::transient("ended", "it was told to end"));
            }
        }
        self.line.pass().await;
        let files = claim.writes.iter().map(|path| OutputFile {
            path: path.clone(),
            content: format!("{} by attempt {}\n", claim.key, claim.attempt),
        });
        let mut output = Output { files: files.collect(), ..Output::default() };
        match chance.below(200) {
            0..16 => return Err(Failure::transient("flaky", "not now")),
            16..19 => return Err(Failure::permanent("hopeless", "never")),
            19..22 if !is_calm => pending().await,
            22..24 => panic!("{SCRIPTED}"),
            24..26 if !is_calm => {
                self.poison.send(self.process).ok();
                pending().await
            }
            28..34 => {
                let prefix = format!("{}+{}x", claim.key, claim.attempt);
                // What grows without end would never come to its end.
                if claim.key.len() < 12 {
                    output.tasks =
                        shapes::additions(&mut chance, &prefix, slice::from_ref(&claim.key));
                }
            }
            26..28 => output.files[0].path = "undeclared.txt".to_owned(),
            _ => {}
        }
        Ok(output)
    }
}

/// The receiver of all webhooks.
#[derive(Clone, Default)]
pub struct Ear(Arc<Mutex<BTreeMap<EndpointId, Vec<u64>>>>);

impl Ear {
    /// Hears of an event. What was not heard of before must be in order.
    fn hear(&self, witness: &Witness, claim: &DeliveryClaim) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = heard.entry(claim.endpoint).or_default();
        let seq = claim.event.seq;
        if heard.contains(&seq) {
            return;
        }
        if let Some(later) = heard.iter().find(|other| seq < **other) {
            let build = claim.event.build;
            witness.object(format!("{build}: event {seq} was first heard of after event {later}"));
        }
        heard.push(seq);
    }

    pub fn has_heard(&self, endpoint: EndpointId, seq: u64) -> bool {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(&endpoint).is_some_and(|heard| heard.contains(&seq))
    }
}

/// Delivers like the real dispatcher, but to an ear instead of over a network.
pub struct Dispatcher {
    pub seed: u64,
    pub store: Arc<dyn Store>,
    pub lease: Duration,
    pub line: Line,
    pub ear: Ear,
    pub witness: Witness,
}

impl Dispatcher {
    pub async fn handle(&self, work: serve::Work<DeliveryClaim>) -> Result<(), Error> {
        let serve::Work { claim, lost, .. } = work;
        let result = tokio::select! {
            biased;
            result = self.send(&claim) => result,
            () = lost.cancelled() => return Ok(()),
        };
        lease::settle(self.lease, || {
            let (policy, jitter) = (&Policy::DELIVERY, draw::jitter());
            self.store.settle_delivery(claim.fence(), &result, policy, jitter)
        })
        .await
    }

    async fn send(&self, claim: &DeliveryClaim) -> SendResult {
        let mut chance = lots(self.seed, claim.delivery.ulid(), claim.attempt);
        sleep(chance.millis(0, 30)).await;
        self.line.pass().await;
        let answer = chance.below(100);
        if !(80..85).contains(&answer) {
            self.ear.hear(&self.witness, claim);
        }
        sleep(if chance.once_in(20) { chance.millis(100, 3000) } else { chance.millis(0, 30) })
            .await;
        let (failure, status) = match answer {
            0..80 => (None, Some(204)),
            80..85 => (Some(Failure::transient("unreachable", "nobody is there")), None),
            85..99 => (Some(Failure::transient("refused", "it answered 500")), Some(500)),
            _ => (Some(Failure::permanent("blocked_address", "not there")), None),
        };
        SendResult { failure, status, took_ms: 1, ..SendResult::default() }
    }
}
