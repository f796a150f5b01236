//! The engine at work: builds that are added directly to the record, and worked off by real task
//! workers in processes of their own, whose runner does nothing.

use std::{
    collections::HashMap,
    process::{ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use async_trait::async_trait;
use buildfleet::{
    domain::{
        attempt::{Failure, Output},
        brief::Brief,
        build,
        id::BuildId,
        limit::Limit,
        plan::Plan,
        task,
    },
    draw, program,
    store::{self, Adoption, Ask, NewBuild, Store, TaskClaim},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use worker::{
    config::TaskConfig,
    sweep::{self, Sweep},
    task::runner::Runner,
};

use crate::{
    process,
    servers::{self, Postgres, Redis},
};

/// Longer than any piece of work here takes by far.
const LEASE: Duration = Duration::from_secs(120);
/// Builds that are added at once, by us and by those we are compared with.
pub const PRODUCERS: usize = 50;
/// A fleet that stands still is a failure, not a slow one.
const STANDS_STILL_AFTER: Duration = Duration::from_secs(120);

/// The name under which this program starts itself as a worker.
pub const WORK: &str = "work";

/// Does nothing, at once.
struct Nothing;

#[async_trait]
impl Runner for Nothing {
    async fn run(&self, _: &TaskClaim, _: &CancellationToken) -> Result<Output, Failure> {
        Ok(Output::default())
    }
}

/// A task worker as it comes, but for its runner.
pub async fn work() -> ExitCode {
    program::run("task-worker", TaskConfig::read, async |member, config| {
        tokio::join!(config.serve(&member, Arc::new(Nothing)), sweep::run(Sweep::FLEET, &member));
        Ok(())
    })
    .await
}

/// What workers stand on: an empty record and an empty queue.
pub struct Fleet {
    store: Arc<dyn Store>,
    database_url: String,
    redis: Redis,
}

/// Builds that were added, and how long that took.
pub struct Added {
    builds: Vec<BuildId>,
    tasks: usize,
    pub seconds: f64,
}

/// How builds were worked off.
pub struct Worked {
    /// From the first claim to the last settlement, by the clock of the record.
    pub seconds: f64,
    /// The most memory that a worker had, in MiB; none where the system does not tell.
    pub memory: Option<f64>,
}

impl Fleet {
    /// Without any limit but those that are given.
    pub async fn open(postgres: &Postgres, limits: &[Limit]) -> anyhow::Result<Self> {
        let database_url = postgres.fresh_database();
        let store = store::open(&database_url).await?;
        for limit in store.limits().await? {
            store.remove_limit(&limit.name, "bench").await?;
        }
        for limit in limits {
            store.put_limit(limit, "bench").await?;
        }
        Ok(Self { store, database_url, redis: servers::redis() })
    }

    /// Adds builds with their plans, each under its tenant.
    pub async fn add(&self, builds: Vec<(String, Arc<Plan>)>) -> anyhow::Result<Added> {
        let tasks = builds.iter().map(|(_, plan)| plan.tasks.len()).sum();
        let builds: Vec<_> = builds
            .into_iter()
            .map(|(tenant, plan)| (draw::id::<BuildId>(), tenant, plan))
            .collect();
        let begun = Instant::now();
        stream::iter(&builds)
            .map(|(id, tenant, _)| async {
                let new = NewBuild {
                    id: *id,
                    tenant: tenant.clone(),
                    brief: Brief::of("nothing"),
                    idempotency: None,
                    webhook: None,
                };
                self.store.submit(new).await
            })
            .buffer_unordered(PRODUCERS)
            .try_for_each(async |_| Ok(()))
            .await?;
        self.plan(&builds).await?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Added { builds: builds.iter().map(|(id, ..)| *id).collect(), tasks, seconds })
    }

    /// What a plan worker does, with plans that are there already.
    async fn plan(&self, builds: &[(BuildId, String, Arc<Plan>)]) -> anyhow::Result<()> {
        let plans: HashMap<_, _> = builds.iter().map(|(id, _, plan)| (*id, plan)).collect();
        let left = AtomicUsize::new(builds.len());
        let until = Instant::now() + STANDS_STILL_AFTER;
        let planner = async || {
            let ask = Ask { holder: draw::id(), lease: LEASE, room: 100, slots: 100 };
            loop {
                let claims = self.store.claim_builds(&ask).await?;
                if claims.is_empty() {
                    if left.load(Ordering::Relaxed) == 0 {
                        return Ok(());
                    }
                    // The other has claimed the last ones, and is about to say so.
                    ensure!(Instant::now() < until, "builds are left that cannot be claimed");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                left.fetch_sub(claims.len(), Ordering::Relaxed);
                stream::iter(&claims)
                    .map(|claim| async {
                        let (plan, adoption) =
                            (plans[&claim.build], Adoption::AtOnce { plan: draw::id() });
                        self.store.adopt_plan(claim, plan, adoption).await
                    })
                    .buffer_unordered(PRODUCERS)
                    .try_for_each(async |()| Ok(()))
                    .await?;
            }
        };
        // One claims while the other writes.
        tokio::try_join!(planner(), planner())?;
        Ok(())
    }

    /// Works off what was added, with so many processes of so many slots.
    pub async fn work(
        &self,
        added: &Added,
        processes: usize,
        slots: u32,
    ) -> anyhow::Result<Worked> {
        let workers = (0..processes)
            .map(|_| self.start_worker(slots))
            .collect::<anyhow::Result<Vec<Child>>>()?;
        // The last ones first: to ask for each as it ends would be part of what is measured.
        for build in added.builds.iter().rev() {
            self.ends(*build).await?;
        }
        let memory =
            workers.iter().filter_map(|worker| process::memory(worker.id()?)).reduce(f64::max);
        drop(workers);
        Ok(Worked { seconds: self.took(added).await?, memory })
    }

    fn start_worker(&self, slots: u32) -> anyhow::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(WORK)
            .env("DATABASE_URL", &self.database_url)
            .env("REDIS_URL", self.redis.url())
            .env("BUILDFLEET_TASK_SLOTS", slots.to_string())
            .env("BUILDFLEET_LOG", "warn")
            .stdout(Stdio::null())
            .kill_on_drop(true);
        command.spawn().context("this program starts itself as a worker")
    }

    async fn ends(&self, id: BuildId) -> anyhow::Result<()> {
        let until = Instant::now() + STANDS_STILL_AFTER;
        loop {
            match self.store.build(id).await?.state {
                build::State::Completed => return Ok(()),
                state if state.is_final() => bail!("{id} is {state}"),
                _ if until < Instant::now() => bail!("{id} stands still"),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn took(&self, added: &Added) -> anyhow::Result<f64> {
        let (mut first, mut last, mut count) = (i64::MAX, i64::MIN, 0);
        for build in &added.builds {
            for task in self.store.tasks(*build).await? {
                let (Some(from), Some(to)) = (task.started_at, task.settled_at) else {
                    bail!("{} has no times", task.id);
                };
                let is_well = task.failures == 0 && task.crashes == 0;
                ensure!(task.state == task::State::Completed && is_well, "{task:?}");
                (first, last, count) = (first.min(from.0), last.max(to.0), count + 1);
            }
        }
        ensure!(count == added.tasks, "{count} tasks were found, {} were added", added.tasks);
        Ok((last - first) as f64 / 1000.0)
    }
}
