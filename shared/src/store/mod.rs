//! The record: what is true, and the verbs that change it.
//!
//! Two stores keep the same promises: Postgres for a fleet, SQLite for one process. Each verb is
//! one commit, or none. After a commit that makes work claimable the store rings its bell, and
//! whoever listens wakes the workers. The promises are held by `conformance.rs`, which both stores
//! pass.

pub mod view;
pub mod asked;
pub mod audit;
pub mod bell;
pub mod operating;
pub mod webhooks;
pub mod upkeep;
mod results;
pub mod postgres;
pub mod sqlite;
#[cfg(feature = "conformance")]
pub mod conformance;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;

use crate::{
    domain::{
        IllegalTransition,
        attempt::{Failure, Outcome},
        event::Event,
        id::{BuildId, DeliveryId, HolderId, PlanId, TaskId},
        limit::{Gate, Limit},
        plan::{DraftTask, Plan},
        retry::{Jitter, Policy},
        settle::ByHand,
    },
    job::{Job, Lane},
};
pub use asked::*;
pub use bell::Bell;
pub use operating::*;
pub use upkeep::{Forgotten, OpenBuilds, Pressure, Space, Upkeep};
pub use view::*;
pub use webhooks::*;

/// What a caller of the store does next depends on this.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The row is not there. The caller answers 404, or drops the job.
    #[error("{what} does not exist")]
    NotFound { what: String },

    /// Another holder has it, or nobody any more. The caller stops; nothing is wrong.
    #[error("the lease was lost")]
    Fenced,

    /// The row is in a state in which this cannot be done. The caller names the rule to the client.
    #[error("{reason}")]
    Conflict { code: &'static str, reason: String },

    /// The database did not answer, or not sensibly. The caller lets the job come again.
    #[error("the store did not answer")]
    Unavailable {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Error::NotFound { what: what.to_string() }
    }

    pub fn conflict(code: &'static str, reason: impl Into<String>) -> Self {
        Error::Conflict { code, reason: reason.into() }
    }

    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Unavailable { source: source.into() }
    }
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        Error::unavailable(source)
    }
}

/// A bug of ours: the record and the rules contradict each other. Nothing is written.
impl From<IllegalTransition> for Error {
    fn from(source: IllegalTransition) -> Self {
        Error::unavailable(source)
    }
}

/// The right to settle one attempt: whose it is and which number it has. Every write by a worker
/// names it, and matches no row once somebody else holds the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The build, task or delivery that is held.
    pub job: Job,
    pub attempt: u32,
}

#[async_trait]
pub trait Store: Operating + Upkeep + Webhooks + Send + Sync + 'static {
    /// Answers if the database does.
    async fn ping(&self) -> Result<(), Error>;

    // Builds, as clients see them.

    /// Keeps a new build, its webhook endpoint if it has one, and a `PlanJob`. If the tenant has
    /// used the idempotency key before: `Submitted::Again` with the build of that time if the
    /// request hash is the same, else a `Conflict` with code `idempotency_key_reused`. Keys are
    /// remembered as long as their builds.
    async fn submit(&self, new: NewBuild) -> Result<Submitted, Error>;

    async fn build(&self, id: BuildId) -> Result<Build, Error>;

    /// Newest first.
    async fn builds(&self, wanted: &BuildsWanted) -> Result<Page<Build>, Error>;

    /// Cancels the build and every task that is not final; running attempts lose their lease.
    /// Events:
    /// `task_cancelled` for each, then `build_cancelled`. A proposed plan becomes rejected. A build
    /// that is final already: `Conflict` with code `build_is_final`, except a cancelled one, which
    /// is answered as it is.
    async fn cancel_build(&self, id: BuildId) -> Result<Build, Error>;

    /// Gives a failed or cancelled build another go. With an adopted plan: every task that failed,
    /// was skipped or cancelled goes back to `pending` with its counts of failures and crashes at
    /// zero (attempt numbers go on), its `waiting_on` counts the dependencies that have not
    /// completed, and those that wait for none become `ready`. Without an adopted plan, the build
    /// is queued for planning anew, and a rejected plan stays in the record. A deadline is counted
    /// anew from now. Event: `build_retried`. Any other state: `Conflict` with code
    /// `build_not_retryable`.
    async fn retry_build(&self, id: BuildId) -> Result<Build, Error>;

    /// Approves a proposed plan: tasks without dependencies become `ready`, the build executes.
    /// Event:
    /// `plan_approved`. Not proposed: `Conflict` with code `plan_not_proposed`.
    async fn approve_plan(&self, id: PlanId) -> Result<Build, Error>;

    /// Rejects a proposed plan: its tasks are cancelled, the build fails with the given stop code
    /// (`plan_rejected` or `plan_not_approved`). Events: `plan_rejected`, `build_failed`.
    async fn reject_plan(&self, id: PlanId, code: &str, reason: &str) -> Result<Build, Error>;

    // Planning.

    /// Takes the next queued builds of the lane, in order of rank and under its limits, as many as
    /// there is room for: `queued -> planning`, attempt number raised, an attempt row written. The
    /// event `build_started` is written with the first attempt.
    async fn claim_builds(&self, ask: &Ask) -> Result<Vec<BuildClaim>, Error>;

    /// Adds an event to the log of a build whose planning one holds, such as `plan_partial`.
    async fn note_planning(&self, claim: &BuildClaim, event: Event) -> Result<(), Error>;

    /// Keeps the plan and all its tasks, settles the planning attempt as a success. With
    /// `Adoption::AtOnce` tasks without dependencies become `ready` and the build executes; with
    /// `Adoption::OnApproval` all tasks stay `pending`, the plan is proposed and the build waits
    /// until `within` has passed. When it takes effect, and the brief gives no deadline, the build
    /// has `plan.timeout` from then. Events: `plan_warning` if the plan was straightened, another
    /// if tasks were ordered because of a path, then `plan_generated`.
    async fn adopt_plan(
        &self,
        claim: &BuildClaim,
        plan: &Plan,
        adoption: Adoption,
    ) -> Result<(), Error>;

    /// Settles a planning attempt that failed; what follows is decided by
    /// `settle::settle_planning`.
    async fn settle_planning(
        &self,
        claim: &BuildClaim,
        failure: &Failure,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error>;

    // Plans and tasks.

    /// The newest plan of a build. `NotFound` if the build is unknown or has none yet.
    async fn plan_of(&self, build: BuildId) -> Result<PlanView, Error>;

    async fn plan(&self, id: PlanId) -> Result<PlanView, Error>;

    /// All tasks of the newest plan, in the order of the plan; none before there is a plan.
    /// `NotFound` if the build is unknown, here and wherever something of a build is listed.
    async fn tasks(&self, build: BuildId) -> Result<Vec<Task>, Error>;

    async fn task(&self, id: TaskId) -> Result<Task, Error>;

    /// Oldest first.
    async fn task_attempts(&self, id: TaskId) -> Result<Vec<AttemptView>, Error>;

    /// Takes the next ready tasks of the lane, in order of rank and under its limits, as many as
    /// there is room for: `ready -> in_progress`, attempt number raised, an attempt row and the
    /// event `task_started` written for each, all in one commit. Tasks of a build that somebody is
    /// writing to may be passed over, but something is answered if anything can be claimed.
    async fn claim_tasks(&self, ask: &Ask) -> Result<Vec<TaskClaim>, Error>;

    /// Settles an attempt at a task: reads the progress under the build's lock, asks
    /// `Progress::settle`, writes what it says. The files of a success are kept by path; the newest
    /// wins. With `Origin::MadeAs`, `Upkeep::cached` finds it from then on. `Fenced` if the attempt
    /// is not the running one.
    async fn settle_task(
        &self,
        fence: Fence,
        outcome: Outcome,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error>;

    // Plans in motion; see `domain/plan/growing.rs`, `domain/settle/` and `domain/plan/forking.rs`.

    /// Adds tasks to a build that executes, after those it has. Events: `tasks_added`, then
    /// `task_skipped` for each that waits for what is lost. Answers with the new tasks.
    /// `Conflict`s: `build_is_final`, `build_not_executing`, and `tasks_refused` if `growing::grow`
    /// refuses. A task adds tasks with its `Output`; if those are refused, its attempt fails for
    /// good with that code.
    async fn add_tasks(&self, build: BuildId, tasks: &[DraftTask]) -> Result<Vec<Task>, Error>;

    /// Takes a task out of its build: a running attempt loses its lease, and whoever waits for it
    /// goes by their dependencies. Asked again, it answers with the task as it is. Any other task
    /// that is final: `Conflict` with code `task_is_final`.
    async fn end_task(&self, id: TaskId, how: ByHand, reason: &str) -> Result<Task, Error>;

    /// Gives one lost task another go, and whatever was lost because of it alone. Opens the build
    /// if it has ended; its deadline is counted anew then. Events: `build_retried` if so, and
    /// `task_retried`. `Conflict` with code `task_not_retryable` if `Revival::decide` refuses, or
    /// if its plan is not the one that runs.
    async fn retry_task(&self, id: TaskId) -> Result<Task, Error>;

    /// Begins another build in the middle of the one the task is of, with the same brief, and with
    /// another `input` for the task if one is given. See `forking::fork` for what is taken over;
    /// attempts are not. Events go where those of the other build go. First event: `build_forked`.
    /// `Conflict` with code `plan_not_adopted` if the task's plan never took effect.
    async fn fork(&self, task: TaskId, input: Option<&Value>) -> Result<Build, Error>;

    /// How long until all open tasks of a build are done: `estimate::remaining` over what the
    /// newest successes of the fleet took. `None` unless the build executes, and if it has more
    /// than `estimate::OPEN_MAX` open tasks. Costs a reading of all that is open in the build.
    async fn remaining(&self, build: BuildId) -> Result<Option<Duration>, Error>;

    /// What a task waits for, with references to what that made, in the order of the plan: at most
    /// `PREREQUISITES_MAX` of them, and of each at most `MADE_MAX` files. Contents are read with
    /// `file`.
    async fn prerequisites(&self, task: TaskId) -> Result<Vec<Prerequisite>, Error>;

    // Leases.

    /// Keeps what one holds for another `lease` from now. Answers with those that one holds no
    /// longer.
    async fn extend(
        &self,
        holder: HolderId,
        held: &[Fence],
        lease: Duration,
    ) -> Result<Vec<Fence>, Error>;

    /// Gives a planning or a delivery back untouched, due at once; the attempt counts for nothing.
    /// For tasks, see `settle_task` with `Outcome::GivenBack`.
    async fn give_back(&self, fence: Fence) -> Result<(), Error>;

    /// Work in progress whose lease has lapsed, longest lapsed first.
    async fn lapsed(&self, limit: u32) -> Result<Vec<Fence>, Error>;

    /// Lets all leases lapse now. For the start of a process that is alone with its store: whoever
    /// held them is dead. Answers with how many there were.
    async fn lapse_all(&self) -> Result<u64, Error>;

    /// Settles a lapsed lease of any kind as lost, if it is still lapsed; else `Fenced`.
    async fn settle_lost(&self, fence: Fence, policy: &Policy, jitter: Jitter)
    -> Result<(), Error>;

    /// Ends what waited too long: proposed plans past their time are rejected with the stop code
    /// `plan_not_approved` (S2-57: "Plan not approved within timeout period"), and builds past
    /// their deadline fail with `deadline_passed`, or with `plan_timeout` if the brief gave none
    /// and it is their plan's timeout that has passed, their open tasks cancelled (events
    /// `task_cancelled`, `build_failed`). Answers with how many builds it ended; at most `limit`.
    async fn end_overdue(&self, limit: u32) -> Result<u32, Error>;

    // The log.

    /// Events of a build with a sequence number above `after`, ascending. Numbers begin at 1 and
    /// have no gaps. `NotFound` if the build is unknown.
    async fn events(&self, build: BuildId, after: u64, limit: u32)
    -> Result<Vec<EventView>, Error>;

    // Files.

    /// Every committed file of a build by path, ascending, without content.
    async fn files(&self, build: BuildId) -> Result<Vec<FileView>, Error>;

    /// `NotFound` if the build or the path is unknown.
    async fn file(&self, build: BuildId, path: &str) -> Result<FileContent, Error>;

    /// All committed files with their content, as of one instant, by path.
    async fn file_contents(&self, build: BuildId) -> Result<Vec<FileContent>, Error>;

    // Deliveries.

    /// Takes the next pending deliveries of the lane, in order of rank and under its limits, as
    /// many as there is room for, and of each endpoint no more than `endpoint::room` says. To an
    /// ordered endpoint, an earlier delivery of the same build must be final. Raises the attempt
    /// numbers.
    async fn claim_deliveries(&self, ask: &Ask) -> Result<Vec<DeliveryClaim>, Error>;

    /// Settles an attempt at a delivery; what follows a failure is decided by the endpoint's
    /// profile and `policy`, and what follows for the endpoint by its health. When the delivery
    /// becomes final, it is the turn of the next one of its build and endpoint. If an endpoint of a
    /// tenant fails, is disabled or recovers by it, the tenant's endpoints that want to hear it are
    /// told, and so they are of a delivery that is given up.
    async fn settle_delivery(
        &self,
        fence: Fence,
        result: &SendResult,
        policy: &Policy,
        jitter: Jitter,
    ) -> Result<(), Error>;

    /// Newest first.
    async fn deliveries(&self, wanted: &DeliveriesWanted) -> Result<Page<Delivery>, Error>;

    async fn delivery(&self, id: DeliveryId) -> Result<Delivery, Error>;

    /// Oldest first.
    async fn delivery_attempts(&self, id: DeliveryId) -> Result<Vec<DeliveryAttempt>, Error>;

    /// Sends a final delivery once more: its counts of failures start anew, attempt numbers go on.
    /// Not final: `Conflict` with code `delivery_not_final`.
    async fn redeliver(&self, id: DeliveryId) -> Result<Delivery, Error>;

    // Scheduling; see `domain/rank.rs` and `domain/limit.rs`.

    /// Rings after commits.
    fn bell(&self) -> &Bell;

    /// How long until the next work of a lane that waits for its time is due; zero if it is due,
    /// `None` if there is none.
    async fn next_due(&self, lane: Lane) -> Result<Option<Duration>, Error>;

    /// Every limit, by name.
    async fn limits(&self) -> Result<Vec<Limit>, Error>;

    /// Makes a limit, or replaces the one of that name, from the next claim on. `by` is for the
    /// audit.
    async fn put_limit(&self, limit: &Limit, by: &str) -> Result<(), Error>;

    /// `NotFound` if there is none of that name. What waits there is let go.
    async fn remove_limit(&self, name: &str, by: &str) -> Result<(), Error>;

    /// Tenants that were given a weight, by name.
    async fn weights(&self) -> Result<Vec<(String, f64)>, Error>;

    /// Gives a tenant a share of each lane, beside the 1 of all others, for work that becomes ready
    /// from now on. 1 takes it back.
    async fn put_weight(&self, tenant: &str, weight: f64, by: &str) -> Result<(), Error>;

    /// Keeps work of a build, a tenant or a lane from being claimed; what runs goes on. Again is
    /// harmless. Other gates are a `Conflict` with code `not_pausable`; a build that is unknown is
    /// `NotFound`, one that is final is a `Conflict` with code `build_is_final`.
    async fn pause(&self, gate: &Gate, by: &str) -> Result<(), Error>;

    /// Lets it be claimed again. Again is harmless.
    async fn resume(&self, gate: &Gate, by: &str) -> Result<(), Error>;

    /// All that is paused, with who did it and when.
    async fn paused(&self) -> Result<Vec<Pause>, Error>;

    /// What was changed by hand, newest first.
    async fn audit(&self, wanted: &AuditWanted) -> Result<Page<AuditEntry>, Error>;

    // The fleet.

    /// A holder says that it lives. Holders silent for an hour are forgotten.
    async fn beat(&self, worker: &WorkerBeat) -> Result<(), Error>;

    /// A holder that stops in good order takes itself off the list.
    async fn sign_off(&self, holder: HolderId) -> Result<(), Error>;

    async fn workers(&self) -> Result<Vec<Worker>, Error>;

    /// Depth, running and age of the oldest waiting work of each lane, by the record.
    async fn lanes(&self) -> Result<Vec<LaneView>, Error>;
}

/// Opens the store that a `DATABASE_URL` names and brings its schema up to date. `sqlite:` URLs may
/// name a file that does not exist yet.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, OpenError> {
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        Ok(Arc::new(postgres::Postgres::open(url).await?))
    } else if url.starts_with("sqlite:") {
        Ok(Arc::new(sqlite::Sqlite::open(url).await?))
    } else {
        Err(OpenError::Scheme)
    }
}

/// Why a store could not be opened. Printed once, at start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("a database URL begins with postgres: or sqlite:")]
    Scheme,
    #[error("the database could not be opened")]
    Connect(#[source] sqlx::Error),
    #[error("the database's schema could not be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

impl OpenError {
    /// Whether the server is not there, is starting or stopping, or has no connection left.
    pub fn is_absence(&self) -> bool {
        let (Self::Connect(error) | Self::Migrate(sqlx::migrate::MigrateError::Execute(error))) =
            self
        else {
            return false;
        };
        match error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
            // Operator intervention, and too many connections: Postgres' errcodes, appendix A.
            sqlx::Error::Database(error) => {
                error.code().is_some_and(|code| code.starts_with("57P0") || code == "53300")
            }
            _ => false,
        }
    }
}
