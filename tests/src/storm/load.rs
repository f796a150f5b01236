//! Builds whose plans are ready made.

use std::{collections::HashMap, time::Duration};

use anyhow::Context;
use buildfleet::{
    domain::{
        brief::Brief,
        id::{BuildId, HolderId},
        plan::Plan,
    },
    draw,
    store::{Adoption, Ask, Error, NewBuild, Store},
};

const PAUSE: Duration = Duration::from_millis(100);
/// Adopting a thousand tasks takes a moment, and several are claimed at once.
const LEASE: Duration = Duration::from_secs(60);

/// Submits builds for tenants and adopts their plans, through whatever the record goes.
pub struct Feeder<'a> {
    store: &'a dyn Store,
    holder: HolderId,
    plans: HashMap<BuildId, Plan>,
}

impl<'a> Feeder<'a> {
    pub fn new(store: &'a dyn Store) -> Self {
        Self { store, holder: draw::id(), plans: HashMap::new() }
    }

    /// Submits one build, and adopts its plan.
    pub async fn feed(&mut self, tenant: &str, plan: Plan) -> anyhow::Result<BuildId> {
        let id = self.submit(tenant, plan).await?;
        while self.plans.contains_key(&id) {
            self.adopt().await?;
        }
        Ok(id)
    }

    async fn submit(&mut self, tenant: &str, plan: Plan) -> anyhow::Result<BuildId> {
        let id: BuildId = draw::id();
        loop {
            let build = NewBuild {
                id,
                tenant: tenant.to_owned(),
                brief: Brief::of(id.to_string()),
                idempotency: None,
                webhook: None,
            };
            match self.store.submit(build).await {
                Ok(_) => break,
                Err(Error::Unavailable { .. }) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error.into()),
            }
            // The commit may have been made and its answer lost.
            if self.store.build(id).await.is_ok() {
                break;
            }
        }
        self.plans.insert(id, plan);
        Ok(id)
    }

    async fn adopt(&mut self) -> anyhow::Result<()> {
        let ask = Ask { holder: self.holder, lease: LEASE, room: 4, slots: 4 };
        let claims = match self.store.claim_builds(&ask).await {
            Ok(claims) => claims,
            Err(Error::Unavailable { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        if claims.is_empty() {
            tokio::time::sleep(PAUSE).await;
            // Nothing is in flight here: what is planned already was adopted by a lost commit.
            return self.forget_adopted().await;
        }
        for claim in claims {
            let plan = self.plans.get(&claim.build).context("nobody else submits")?;
            let adoption = Adoption::AtOnce { plan: draw::id() };
            loop {
                match self.store.adopt_plan(&claim, plan, adoption).await {
                    // Fenced: it was adopted by a commit whose answer was lost, or will be claimed
                    // again.
                    Ok(()) | Err(Error::Fenced) => break,
                    Err(Error::Unavailable { .. }) => tokio::time::sleep(PAUSE).await,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.forget_adopted().await
    }

    async fn forget_adopted(&mut self) -> anyhow::Result<()> {
        let open: Vec<_> = self.plans.keys().copied().collect();
        for id in open {
            if self.store.build(id).await.is_ok_and(|build| build.plan.is_some()) {
                self.plans.remove(&id);
            }
        }
        Ok(())
    }
}
