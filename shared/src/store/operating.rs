//! What operators ask of the record: why work waits, what a filter meets, what failed and why.
//!
//! Both stores answer with the same words; see `Store` for the verbs that change something. Every
//! listing is a page or has a bound of its own, so that no question grows with the record.

use std::{collections::HashMap, fmt, str::FromStr};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{At, AttemptView, Error, Page, Pause, audit::Change};
use crate::{
    domain::{
        attempt::Failure,
        build, delivery,
        event::Kind,
        id::{BuildId, DeliveryId, EndpointId},
        lane::Lane,
        limit::Gate,
    },
    job::Job,
};

/// Past this, what is parked at a gate is not counted on.
pub const PARKED_COUNTED: u32 = 10_000;
/// Gates of a lane that are told of. There may be one for each tenant.
pub const PARKED_GATES: u32 = 100;

#[async_trait]
pub trait Operating: Send + Sync {
    /// Where ready work waits. Of work that is not ready, or unknown, nothing is said.
    async fn waits(&self, jobs: &[Job]) -> Result<HashMap<Job, Wait>, Error>;

    /// Those of these gates that are paused.
    async fn paused_at(&self, gates: &[Gate]) -> Result<Vec<Pause>, Error>;

    /// The gates at which ready work of a lane is parked, except those of time and turn; by lane
    /// and gate, at most `PARKED_GATES` of each lane. Which of them is open by now, only the next
    /// claim finds out.
    async fn parked(&self) -> Result<Vec<Parked>, Error>;

    /// The builds that a filter meets, newest first.
    async fn find_builds(&self, wanted: &BuildsFound) -> Result<Page<BuildId>, Error>;

    async fn count_builds(&self, filter: &BuildFilter) -> Result<u64, Error>;

    /// The deliveries that a filter meets, newest first.
    async fn find_deliveries(&self, wanted: &DeliveriesFound) -> Result<Page<DeliveryId>, Error>;

    async fn count_deliveries(&self, filter: &DeliveryFilter) -> Result<u64, Error>;

    /// Work that was given up, of all kinds or one, last given up first.
    async fn failed(&self, wanted: &FailedWanted) -> Result<Page<Failed>, Error>;

    /// Oldest first. `NotFound` if the build is unknown.
    async fn planning_attempts(&self, build: BuildId) -> Result<Vec<AttemptView>, Error>;

    /// Adds to the audit what is not written there by the verb that does it.
    async fn note(&self, change: &Change<'_>, by: &str) -> Result<(), Error>;
}

/// Why ready work is not claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// `None` if it is next in line, or nobody has looked yet. Never a time that has come.
    pub parked_on: Option<Gate>,
    pub due_at: At,
    /// Its build, tenant or lane is paused: the oldest of these pauses.
    pub pause: Option<Pause>,
    /// Of a delivery whose endpoint is sent nothing.
    pub shut: Option<Shut>,
}

/// An endpoint that is sent nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shut {
    /// Until then; `None` if it is disabled.
    pub until: Option<At>,
}

/// Work that waits at a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    pub lane: Lane,
    pub gate: Gate,
    /// At most `PARKED_COUNTED`.
    pub count: u64,
}

/// Which builds are meant: those for which every part holds that is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildFilter {
    pub tenant: String,
    /// In any of these; empty for all.
    pub states: Vec<build::State>,
    pub project_id: Option<String>,
    pub stop_code: Option<String>,
    pub priority: Option<u8>,
    pub created: Span,
    pub ids: Option<Vec<BuildId>>,
}

/// From an instant on, and before another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub since: Option<At>,
    pub until: Option<At>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildsFound {
    pub filter: BuildFilter,
    pub limit: u32,
    /// Only builds before this one in the listing.
    pub after: Option<BuildId>,
}

/// Which deliveries are meant: those for which every part holds that is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryFilter {
    pub tenant: String,
    /// In any of these; empty for all.
    pub states: Vec<delivery::State>,
    pub build: Option<BuildId>,
    pub endpoint: Option<EndpointId>,
    pub kind: Option<Kind>,
    /// That of the newest failure.
    pub code: Option<String>,
    pub created: Span,
    pub ids: Option<Vec<DeliveryId>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveriesFound {
    pub filter: DeliveryFilter,
    pub limit: u32,
    pub after: Option<DeliveryId>,
}

/// A page of what was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedWanted {
    /// Builds for `Plans`, whether their planning or their tasks failed; all kinds if it is not
    /// given.
    pub lane: Option<Lane>,
    pub tenant: Option<String>,
    pub code: Option<String>,
    /// When it was given up.
    pub at: Span,
    pub limit: u32,
    pub after: Option<FailedPlace>,
}

/// Where something stands in the listing of what was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailedPlace {
    /// In a unit of the store's own.
    pub at: i64,
    pub job: Job,
}

impl fmt::Display for FailedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.job)
    }
}

/// A text names no place in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no place in the listing")]
pub struct NoPlace;

impl FromStr for FailedPlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (at, job) = text.split_once(' ').ok_or(NoPlace)?;
        Ok(Self { at: at.parse().map_err(|_| NoPlace)?, job: job.parse().map_err(|_| NoPlace)? })
    }
}

/// Work that was given up, and what it was tried for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub place: FailedPlace,
    pub build: BuildId,
    pub tenant: String,
    /// Of a task, its name; of a delivery, the kind of its event; of a build, the beginning of its
    /// prompt.
    pub name: String,
    pub code: String,
    pub reason: String,
    /// How many attempts were begun; of a build, at its planning.
    pub attempt: u32,
    pub failures: u32,
    pub crashes: u32,
    /// What its first failed attempt came to, and its last.
    pub first: Option<Failure>,
    pub last: Option<Failure>,
    pub at: At,
}

/// How much of a prompt is shown in a listing.
pub(super) const NAME_CHARS_MAX: i32 = 100;

/// Brings pages of several kinds together.
pub(super) fn merged(mut rows: Vec<Failed>, limit: u32) -> Page<Failed> {
    rows.sort_by_key(|row| std::cmp::Reverse(failed_order(&row.place)));
    let limit = limit as usize;
    let next = limit < rows.len();
    rows.truncate(limit);
    Page { rows, next }
}

/// Ids are compared as the texts that the stores keep.
fn failed_order(place: &FailedPlace) -> (i64, String) {
    (place.at, place.job.to_string())
}
