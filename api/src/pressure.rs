//! Refusing work before memory or disk runs out: what was accepted before is not put at risk.
//!
//! The record is looked at now and then, not for each request, and what this process accepted since
//! is added. Replicas do not know of each other's: each may go beyond a bound by what it accepts
//! within a second.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use buildfleet::{
    config::Reader,
    store::{OpenBuilds, Pressure, Space, Store},
};
use serde_json::json;

use crate::Error;

/// What is taken on before it is said that there is too much. Each is `None` for no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Builds that are not final.
    pub open_builds_max: Option<u64>,
    pub open_builds_per_tenant_max: Option<u64>,
    /// What briefs may take that nobody has planned yet.
    pub brief_bytes_max: Option<u64>,
    pub database_bytes_max: Option<u64>,
    /// Looked at where the database is a file of this machine.
    pub disk_free_bytes_min: Option<u64>,
}

impl Bounds {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let mut bound =
            |name: &str| Some(reader.number(name, 0, u32::MAX)).filter(|most| 0 < *most);
        let megabytes = |most: Option<u32>| most.map(|most| u64::from(most) * 1024 * 1024);
        Self {
            open_builds_max: bound("BUILDFLEET_OPEN_BUILDS_MAX").map(Into::into),
            open_builds_per_tenant_max: bound("BUILDFLEET_OPEN_BUILDS_PER_TENANT_MAX")
                .map(Into::into),
            brief_bytes_max: megabytes(bound("BUILDFLEET_BRIEFS_MAX_MB")),
            database_bytes_max: megabytes(bound("BUILDFLEET_DATABASE_MAX_MB")),
            disk_free_bytes_min: megabytes(bound("BUILDFLEET_DISK_FREE_MIN_MB")),
        }
    }

    fn need_space(&self) -> bool {
        self.database_bytes_max.is_some() || self.disk_free_bytes_min.is_some()
    }
}

/// The shortest time between two looks at the record, and how much of the time looking may take.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_SHARE: u32 = 20;
/// A client that is told to wait comes back within these, whatever the rate.
const RETRY_SECS: std::ops::RangeInclusive<u16> = 1..=300;
/// Where nothing has come to an end of late, nobody can say.
const RETRY_SECS_UNKNOWN: u16 = 10;
/// Room on a disk is made by people, or by what is deleted in its time.
const RETRY_SECS_DISK: u16 = 60;

/// How full it is, as far as this process knows.
pub struct Gauge {
    bounds: Bounds,
    /// Held by whoever looks at the record.
    looking: tokio::sync::Mutex<()>,
    known: Mutex<Option<Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    at: Instant,
    /// How long the look took.
    took: Duration,
    by_tenant: HashMap<String, u64>,
    builds: u64,
    brief_bytes: u64,
    ended_last_minute: u64,
    space: Space,
}

/// Why a brief is not accepted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overload {
    /// The name of the bound in the answer.
    bound: &'static str,
    message: &'static str,
    retry_after: u16,
}

impl From<Overload> for Error {
    fn from(overload: Overload) -> Self {
        let Overload { bound, message, retry_after } = overload;
        Error::overloaded(message, retry_after)
            .with_detail(json!({ "bound": bound, "retry_after_secs": retry_after }))
    }
}

impl Gauge {
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, looking: tokio::sync::Mutex::default(), known: Mutex::default() }
    }

    /// Says whether one more brief of this size can be accepted, and counts it if so.
    pub async fn admit(
        &self,
        store: &dyn Store,
        tenant: &str,
        brief_bytes: u64,
    ) -> Result<(), Overload> {
        if self.bounds == Bounds::default() {
            return Ok(());
        }
        self.look(store).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A record that does not answer refuses by itself.
        let Some(known) = known.as_mut() else { return Ok(()) };
        known.judge(&self.bounds, tenant, brief_bytes)?;
        known.add(tenant, brief_bytes);
        Ok(())
    }

    /// Looks at the record if that was long ago. One looks; the others go by what is known, or wait
    /// if nothing is.
    async fn look(&self, store: &dyn Store) {
        let is_known = match self.age() {
            Some((age, due)) if age < due => return,
            known => known.is_some(),
        };
        let Ok(_looking) =
            (if is_known { self.looking.try_lock() } else { Ok(self.looking.lock().await) })
        else {
            return;
        };
        if self.age().is_some_and(|(age, due)| age < due) {
            return;
        }
        let at = Instant::now();
        let space = async {
            if self.bounds.need_space() { store.space().await } else { Ok(Space::default()) }
        };
        match tokio::try_join!(store.pressure(), space) {
            Ok((pressure, space)) => {
                let known = Known::of(at, pressure, space);
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
            }
            Err(error) => tracing::debug!(error = %error, "how full it is is not known"),
        }
    }

    /// How old what is known is, and how old it may be.
    fn age(&self) -> Option<(Duration, Duration)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|known| (known.at.elapsed(), LOOK_EVERY.max(known.took * LOOK_SHARE)))
    }
}

impl Known {
    fn of(at: Instant, pressure: Pressure, space: Space) -> Self {
        let Pressure { open, ended_last_minute } = pressure;
        Self {
            at,
            took: at.elapsed(),
            builds: open.iter().map(|open| open.builds).sum(),
            brief_bytes: open.iter().map(|open| open.brief_bytes).sum(),
            by_tenant: open
                .into_iter()
                .map(|OpenBuilds { tenant, builds, .. }| (tenant, builds))
                .collect(),
            ended_last_minute,
            space,
        }
    }

    fn add(&mut self, tenant: &str, brief_bytes: u64) {
        self.builds += 1;
        self.brief_bytes += brief_bytes;
        match self.by_tenant.get_mut(tenant) {
            Some(builds) => *builds += 1,
            None => drop(self.by_tenant.insert(tenant.to_owned(), 1)),
        }
    }

    fn judge(&self, bounds: &Bounds, tenant: &str, brief_bytes: u64) -> Result<(), Overload> {
        let of_tenant = self.by_tenant.get(tenant).copied().unwrap_or_default();
        let over = |bound, message, retry_after| Err(Overload { bound, message, retry_after });
        if let Some(most) = bounds.open_builds_max
            && most <= self.builds
        {
            let message = "as many builds are open as are allowed to be";
            return over("open_builds", message, self.until_ended(self.builds - most + 1));
        }
        if let Some(most) = bounds.open_builds_per_tenant_max
            && most <= of_tenant
        {
            let message = "as many builds of this tenant are open as are allowed to be";
            return over("open_builds_per_tenant", message, self.until_ended(of_tenant - most + 1));
        }
        if let Some(most) = bounds.brief_bytes_max
            && most < self.brief_bytes.saturating_add(brief_bytes)
        {
            let message = "the briefs that wait to be planned are as large as is allowed";
            return over("brief_bytes", message, self.until_ended(1));
        }
        if let (Some(most), Some(used)) = (bounds.database_bytes_max, self.space.used_bytes)
            && most <= used
        {
            let message = "the database is as large as is allowed";
            return over("database_bytes", message, RETRY_SECS_DISK);
        }
        if let (Some(least), Some(free)) = (bounds.disk_free_bytes_min, self.space.free_bytes)
            && free < least
        {
            return over("disk_free_bytes", "the disk is nearly full", RETRY_SECS_DISK);
        }
        Ok(())
    }

    /// How many seconds until so many builds have ended, at the rate of the last minute.
    fn until_ended(&self, builds: u64) -> u16 {
        if self.ended_last_minute == 0 {
            return RETRY_SECS_UNKNOWN;
        }
        let secs = builds.saturating_mul(60).div_ceil(self.ended_last_minute);
        let secs = u16::try_from(secs).unwrap_or(u16::MAX);
        secs.clamp(*RETRY_SECS.start(), *RETRY_SECS.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(builds: u64, ended_last_minute: u64) -> Known {
        let open = OpenBuilds { tenant: "acme".to_owned(), builds, brief_bytes: 100 };
        let pressure = Pressure { open: vec![open], ended_last_minute };
        let space = Space { used_bytes: Some(1_000), free_bytes: Some(50) };
        Known::of(Instant::now(), pressure, space)
    }

    fn bounds() -> Bounds {
        Bounds { open_builds_max: Some(10), ..Bounds::default() }
    }

    fn over(known: &Known, bounds: Bounds) -> Option<(&'static str, u16)> {
        let judged = known.judge(&bounds, "acme", 10);
        judged.err().map(|over| (over.bound, over.retry_after))
    }

    #[test]
    fn what_is_below_every_bound_is_accepted() {
        let most = Some(1_000_000);
        let bounds = Bounds {
            open_builds_max: most,
            open_builds_per_tenant_max: most,
            brief_bytes_max: most,
            database_bytes_max: most,
            disk_free_bytes_min: Some(50),
        };

        assert_eq!(over(&known(9, 0), bounds), None);
        assert_eq!(over(&known(9, 0), Bounds::default()), None);
    }

    #[test]
    fn each_bound_is_named() {
        let of = |bounds| over(&known(9, 60), bounds).map(|(bound, _)| bound);
        let none = Bounds::default();

        assert_eq!(of(Bounds { open_builds_max: Some(9), ..none }), Some("open_builds"));
        assert_eq!(
            of(Bounds { open_builds_per_tenant_max: Some(9), ..none }),
            Some("open_builds_per_tenant")
        );
        assert_eq!(of(Bounds { brief_bytes_max: Some(109), ..none }), Some("brief_bytes"));
        assert_eq!(of(Bounds { database_bytes_max: Some(1_000), ..none }), Some("database_bytes"));
        assert_eq!(of(Bounds { disk_free_bytes_min: Some(51), ..none }), Some("disk_free_bytes"));
    }

    #[test]
    fn what_was_accepted_since_the_last_look_counts() {
        let mut known = known(8, 0);

        known.add("acme", 1);
        assert_eq!(over(&known, bounds()), None);
        known.add("other", 1);

        assert_eq!(over(&known, bounds()), Some(("open_builds", RETRY_SECS_UNKNOWN)));
        assert_eq!((known.by_tenant["acme"], known.by_tenant["other"]), (9, 1));
    }

    #[test]
    fn the_wait_follows_from_the_rate_at_which_builds_end() {
        let wait = |builds, ended| over(&known(builds, ended), bounds()).unwrap().1;

        assert_eq!(wait(10, 30), 2);
        assert_eq!(wait(19, 30), 20);
        assert_eq!(wait(10, 6_000), 1);
        assert_eq!(wait(1_000_000, 1), 300);
    }
}
