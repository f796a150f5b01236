//! Works at a SQLite store until it is killed, and says what was answered.
//!
//! Prints a line for each answer that a client or a worker got: `submitted <build>`, `settled
//! <task>`. Called again with the same file it goes on where it was. With `finish` it submits
//! nothing and ends when nothing is left to do.

use std::time::Duration;

use anyhow::Context;
use buildfleet::{
    domain::{
        attempt::{Outcome, Output, OutputFile},
        brief::Brief,
        id::{BuildId, EndpointId, HolderId},
        plan::Draft,
        retry::{Jitter, Policy},
    },
    draw,
    job::Lane,
    store::{
        Adoption, Ask, BuildClaim, DeliveryClaim, Error, NewBuild, NewEndpoint, SendResult, Store,
        TaskClaim, sqlite::Sqlite,
    },
};
use futures_util::future::{join_all, try_join_all};

const LEASE: Duration = Duration::from_secs(60);
/// Being killed often is what this is for.
const POLICY: Policy = Policy { crashes_max: u32::MAX, ..Policy::WORK };

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let url = args.next().context("the first argument is the URL of the store")?;
    let finish = args.next().as_deref() == Some("finish");
    let work = Work { store: Sqlite::open(&url).await?, holder: draw::id() };

    work.take_over().await?;
    loop {
        if !finish {
            try_join_all((0..3).map(|_| work.submit())).await?;
        }
        while work.some().await? {}
        if finish {
            match work.next_due().await? {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Ok(()),
            }
        }
    }
}

struct Work {
    store: Sqlite,
    holder: HolderId,
}

impl Work {
    /// Whoever worked here before is dead.
    async fn take_over(&self) -> Result<(), Error> {
        self.store.lapse_all().await?;
        for fence in self.store.lapsed(1000).await? {
            self.store.settle_lost(fence, &POLICY, Jitter::NONE).await?;
        }
        Ok(())
    }

    async fn submit(&self) -> Result<(), Error> {
        let id: BuildId = draw::id();
        let webhook = NewEndpoint {
            id: draw::id::<EndpointId>(),
            url: "http://receiver.test/".to_owned(),
            secret: "secret".to_owned().into(),
            events: Vec::new(),
        };
        self.store
            .submit(NewBuild {
                id,
                tenant: "tenant".to_owned(),
                brief: Brief::of("a to-do list"),
                idempotency: None,
                webhook: Some(webhook),
            })
            .await?;
        println!("submitted {id}");
        Ok(())
    }

    /// Does what can be claimed, all at once; `false` if nothing can.
    async fn some(&self) -> Result<bool, Error> {
        let ask = Ask { holder: self.holder, lease: LEASE, room: 100, slots: 100 };
        let plans = self.store.claim_builds(&ask).await?;
        let tasks = self.store.claim_tasks(&ask).await?;
        let deliveries = self.store.claim_deliveries(&ask).await?;
        let some = !(plans.is_empty() && tasks.is_empty() && deliveries.is_empty());
        let (plans, tasks, deliveries) = tokio::join!(
            join_all(plans.iter().map(|claim| self.plan(claim))),
            join_all(tasks.iter().map(|claim| self.run(claim))),
            join_all(deliveries.iter().map(|claim| self.tell(claim))),
        );
        for done in plans.into_iter().chain(tasks).chain(deliveries) {
            done?;
        }
        Ok(some)
    }

    /// How long until there is more to claim, which may wait for a limit; `None` if there is none.
    async fn next_due(&self) -> Result<Option<Duration>, Error> {
        let mut next = None;
        for lane in Lane::ALL {
            next = next.into_iter().chain(self.store.next_due(*lane).await?).min();
        }
        Ok(next)
    }

    async fn plan(&self, claim: &BuildClaim) -> Result<(), Error> {
        let plan = Draft::of("fetch -> build -> ship, fetch -> lint -> ship, notes")
            .into_plan()
            .map_err(Error::unavailable)?;
        self.store.adopt_plan(claim, &plan, Adoption::AtOnce { plan: draw::id() }).await
    }

    async fn run(&self, claim: &TaskClaim) -> Result<(), Error> {
        let file = OutputFile {
            path: claim.writes[0].clone(),
            content: format!("by attempt {}", claim.attempt),
        };
        let outcome = Outcome::Succeeded(Output { files: vec![file], ..Output::default() });
        self.store.settle_task(claim.fence(), outcome, &POLICY, Jitter::NONE).await?;
        println!("settled {}", claim.task);
        Ok(())
    }

    async fn tell(&self, claim: &DeliveryClaim) -> Result<(), Error> {
        let heard = SendResult { status: Some(204), took_ms: 1, ..SendResult::default() };
        self.store.settle_delivery(claim.fence(), &heard, &POLICY, Jitter::NONE).await
    }
}
