//! Where the work of a lane comes from: the half of a store that a holder knows.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{
    domain::{
        attempt::Outcome,
        id::{BuildId, HolderId},
        retry::Policy,
    },
    draw,
    job::{Job, Lane},
    lease::Leases,
    store::{Ask, BuildClaim, DeliveryClaim, Error, Fence, Store, TaskClaim},
};

/// The right to make one attempt at something.
pub trait Claim: Send + 'static {
    fn fence(&self) -> Fence;

    /// The build that it belongs to.
    fn build(&self) -> BuildId;

    /// How many slots it takes.
    fn cost(&self) -> u32;
}

/// Gives one holder the work of one lane, and takes it back.
#[async_trait]
pub trait Feed: Leases {
    type Claim: Claim;

    fn lane(&self) -> Lane;

    fn holder(&self) -> HolderId;

    /// Takes the next work, as much as there is room for. Less than that means that there is no
    /// more for now.
    async fn claim(&self, room: u32, slots: u32) -> Result<Vec<Self::Claim>, Error>;

    /// How long until work that waits for its time is due; `None` if none does.
    async fn next_due(&self) -> Result<Option<Duration>, Error>;

    /// Returns when this process puts work off until before `than`, with the time.
    async fn due_before(&self, than: Instant) -> Instant;
}

/// A kind of claim that a store gives.
#[async_trait]
pub trait Claimable: Claim + Sized {
    const LANE: Lane;

    async fn claim(store: &dyn Store, ask: &Ask) -> Result<Vec<Self>, Error>;
}

/// The feed of one holder out of a store.
pub struct OfStore<C> {
    store: Arc<dyn Store>,
    holder: HolderId,
    lease: Duration,
    gives: PhantomData<fn() -> C>,
}

impl<C> OfStore<C> {
    pub fn new(store: Arc<dyn Store>, holder: HolderId, lease: Duration) -> Self {
        Self { store, holder, lease, gives: PhantomData }
    }
}

#[async_trait]
impl<C: 'static> Leases for OfStore<C> {
    fn length(&self) -> Duration {
        self.lease
    }

    async fn extend(&self, held: &[Fence]) -> Result<Vec<Fence>, Error> {
        self.store.extend(self.holder, held, self.lease).await
    }

    async fn give_back(&self, fence: Fence) -> Result<(), Error> {
        match fence.job {
            Job::Plan(_) | Job::Delivery(_) => self.store.give_back(fence).await,
            Job::Task(_) => {
                let (policy, jitter) = (&Policy::WORK, draw::jitter());
                self.store.settle_task(fence, Outcome::GivenBack, policy, jitter).await
            }
        }
    }
}

#[async_trait]
impl<C: Claimable> Feed for OfStore<C> {
    type Claim = C;

    fn lane(&self) -> Lane {
        C::LANE
    }

    fn holder(&self) -> HolderId {
        self.holder
    }

    async fn claim(&self, room: u32, slots: u32) -> Result<Vec<C>, Error> {
        let ask = Ask { holder: self.holder, lease: self.lease, room, slots };
        C::claim(&*self.store, &ask).await
    }

    async fn next_due(&self) -> Result<Option<Duration>, Error> {
        self.store.next_due(C::LANE).await
    }

    async fn due_before(&self, than: Instant) -> Instant {
        self.store.bell().due_before(C::LANE, than).await
    }
}

impl Claim for BuildClaim {
    fn fence(&self) -> Fence {
        self.fence()
    }

    fn build(&self) -> BuildId {
        self.build
    }

    fn cost(&self) -> u32 {
        1
    }
}

#[async_trait]
impl Claimable for BuildClaim {
    const LANE: Lane = Lane::Plans;

    async fn claim(store: &dyn Store, ask: &Ask) -> Result<Vec<Self>, Error> {
        store.claim_builds(ask).await
    }
}

impl Claim for TaskClaim {
    fn fence(&self) -> Fence {
        self.fence()
    }

    fn build(&self) -> BuildId {
        self.build
    }

    fn cost(&self) -> u32 {
        self.cost
    }
}

#[async_trait]
impl Claimable for TaskClaim {
    const LANE: Lane = Lane::Tasks;

    async fn claim(store: &dyn Store, ask: &Ask) -> Result<Vec<Self>, Error> {
        store.claim_tasks(ask).await
    }
}

impl Claim for DeliveryClaim {
    fn fence(&self) -> Fence {
        self.fence()
    }

    fn build(&self) -> BuildId {
        self.event.build
    }

    fn cost(&self) -> u32 {
        1
    }
}

#[async_trait]
impl Claimable for DeliveryClaim {
    const LANE: Lane = Lane::Deliveries;

    async fn claim(store: &dyn Store, ask: &Ask) -> Result<Vec<Self>, Error> {
        store.claim_deliveries(ask).await
    }
}
