//! How much may run at once, and how often something may begin.
//!
//! Limits are counted from the leases themselves, so that there is no counter which could leak: a
//! lease that ends, however it ends, has left every limit. Work that a limit turns away is parked
//! at that limit's gate and not looked at again until there is room. Knows no instants: how long
//! ago a bucket was filled is told in seconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{brief::Fault, id::BuildId, lane::Lane, words};

/// A rule about how much of something may run.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Chosen by whoever made it; names it for changes, in the audit and at gates.
    pub name: String,
    /// The lane it is about; `None` for all of them together.
    pub lane: Option<Lane>,
    /// What is counted apart.
    pub by: By,
    /// The one value of `by` that it is about; `None`: every value has a limit of its own.
    pub value: Option<String>,
    /// The most that may run at once, by cost.
    pub concurrency: Option<u32>,
    pub rate: Option<Rate>,
}

/// What a limit counts apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum By {
    /// Nothing: one count for all.
    All,
    /// The operation of a task, the kind of event of a delivery.
    Kind,
    Tenant,
    /// What a brief gives as `limit_key`; of a delivery, its endpoint.
    Key,
}

words!(By { All = "all", Kind = "kind", Tenant = "tenant", Key = "key" });

/// So many beginnings in so long, as a token bucket: as many may begin at once, and then one each
/// time another has been refilled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

pub const NAME_CHARS_MAX: usize = 100;
pub const CONCURRENCY_MAX: u32 = 1_000_000;
pub const RATE_COUNT_MAX: u32 = 1_000_000;
/// A day.
pub const RATE_PER_MAX: Duration = Duration::from_secs(24 * 3600);

/// A token, but for what a sum of fractions loses: shorter than any wait that can be told.
const NEARLY_ONE: f64 = 1.0 - 1e-9;

impl Limit {
    /// All that is wrong with it.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: &str| faults.push(Fault::new(field, message));
        let chars = self.name.chars().count();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if chars == 0 || NAME_CHARS_MAX < chars || !self.name.chars().all(plain) {
            fault(
                "name",
                "must have 1 to 100 characters out of letters, digits, hyphen, underscore and dot",
            );
        }
        if self.concurrency.is_none() && self.rate.is_none() {
            fault("concurrency", "must be given, or rate, or both");
        }
        if self.concurrency.is_some_and(|most| CONCURRENCY_MAX < most) {
            fault("concurrency", "must be between 0 and 1000000");
        }
        if let Some(rate) = self.rate {
            if !(1..=RATE_COUNT_MAX).contains(&rate.count) {
                fault("rate.count", "must be between 1 and 1000000");
            }
            if !(Duration::from_millis(1)..=RATE_PER_MAX).contains(&rate.per) {
                fault("rate.per_secs", "must be between 0.001 and 86400");
            }
        }
        if self.by == By::All && self.value.is_some() {
            fault("value", "must not be given when nothing is counted apart");
        }
        faults
    }

    /// Under which value it counts a piece of work; `None` if it does not.
    fn value_of<'a>(&self, lane: Lane, work: &Work<'a>) -> Option<&'a str> {
        if self.lane.is_some_and(|own| own != lane) {
            return None;
        }
        let value = match self.by {
            By::All => "",
            By::Kind => work.kind,
            By::Tenant => work.tenant,
            By::Key => work.key?,
        };
        self.value.as_deref().is_none_or(|own| own == value).then_some(value)
    }
}

/// What a limit sees of a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work<'a> {
    pub build: BuildId,
    pub tenant: &'a str,
    pub kind: &'a str,
    pub key: Option<&'a str>,
    /// How many slots it takes.
    pub cost: u32,
}

/// Work that runs, as many of a sort as there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub lane: Lane,
    pub tenant: String,
    pub kind: String,
    pub key: Option<String>,
    /// The sum of their costs.
    pub cost: u32,
}

/// What is left of a rate under one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    pub limit: String,
    pub value: String,
    /// At most the rate's count.
    pub tokens: f64,
    /// Since `tokens` was written.
    pub age: Duration,
}

/// Where work that is ready waits although it is its turn.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    /// Until its time has come.
    Time,
    /// Until the deliveries before it are final.
    Turn,
    /// Until there is room under a limit.
    Limit { name: String, value: String },
    /// Until the tenant is resumed.
    Tenant(String),
    /// Until the build is resumed.
    Build(BuildId),
    /// Until the lane is resumed. Nothing is parked here: a paused lane is not claimed from.
    Lane(Lane),
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gate::Time => f.write_str("time"),
            Gate::Turn => f.write_str("turn"),
            Gate::Limit { name, value } => write!(f, "limit {name} {value}"),
            Gate::Tenant(tenant) => write!(f, "tenant {tenant}"),
            Gate::Build(build) => write!(f, "build {build}"),
            Gate::Lane(lane) => write!(f, "lane {lane}"),
        }
    }
}

/// A text names no gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no gate is called that")]
pub struct NoGate;

impl FromStr for Gate {
    type Err = NoGate;

    fn from_str(text: &str) -> Result<Self, NoGate> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        Ok(match word {
            "time" => Gate::Time,
            "turn" => Gate::Turn,
            "limit" => {
                let (name, value) = rest.split_once(' ').ok_or(NoGate)?;
                Gate::Limit { name: name.to_owned(), value: value.to_owned() }
            }
            "tenant" => Gate::Tenant(rest.to_owned()),
            "build" => Gate::Build(rest.parse().map_err(|_| NoGate)?),
            "lane" => Gate::Lane(rest.parse().map_err(|_| NoGate)?),
            _ => return Err(NoGate),
        })
    }
}

/// What is decided about the work at the head of a lane.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    Admitted,
    /// It waits at this gate.
    Parked(Gate),
    /// A rate has nothing left for it until then; it waits at `Gate::Time`.
    Delayed(Duration),
    /// The holder has no slots left for it. Nothing behind it may overtake it.
    NoRoom,
}

/// Decides, in the order of their ranks, which work of a lane a holder may claim.
#[derive(Debug)]
pub struct Gatekeeper<'a> {
    lane: Lane,
    limits: &'a [Limit],
    paused: &'a BTreeSet<Gate>,
    room: u32,
    slots: u32,
    /// By limit and value.
    in_use: BTreeMap<(usize, String), u32>,
    tokens: BTreeMap<(usize, String), f64>,
    /// Buckets that were drawn from.
    drawn: BTreeSet<(usize, String)>,
    /// Tokens to come that work which was delayed waits for.
    promised: BTreeMap<(usize, String), f64>,
    /// Where work was turned away: nothing behind it may overtake it there.
    turned_away: BTreeSet<(usize, String)>,
    shut: bool,
}

impl<'a> Gatekeeper<'a> {
    /// `running`: what is leased in all lanes. `room`: the free slots of the holder who asks, out
    /// of `slots`.
    pub fn new(
        lane: Lane,
        limits: &'a [Limit],
        paused: &'a BTreeSet<Gate>,
        running: &[Running],
        buckets: &[Bucket],
        room: u32,
        slots: u32,
    ) -> Self {
        let mut in_use = BTreeMap::new();
        for one in running {
            let work = Work {
                build: BuildId::from(ulid::Ulid::nil()),
                tenant: &one.tenant,
                kind: &one.kind,
                key: one.key.as_deref(),
                cost: one.cost,
            };
            for (index, limit) in limits.iter().enumerate() {
                if let Some(value) = limit.value_of(one.lane, &work) {
                    let used: &mut u32 = in_use.entry((index, value.to_owned())).or_default();
                    *used = used.saturating_add(one.cost);
                }
            }
        }
        let mut tokens = BTreeMap::new();
        for bucket in buckets {
            let found = limits.iter().enumerate().find(|(_, limit)| limit.name == bucket.limit);
            let Some((index, Limit { rate: Some(rate), .. })) = found else { continue };
            let refilled =
                bucket.age.as_secs_f64() * f64::from(rate.count) / rate.per.as_secs_f64();
            let full = (bucket.tokens + refilled).min(f64::from(rate.count));
            tokens.insert((index, bucket.value.clone()), full);
        }
        Self {
            lane,
            limits,
            paused,
            room,
            slots,
            in_use,
            tokens,
            drawn: BTreeSet::new(),
            promised: BTreeMap::new(),
            turned_away: BTreeSet::new(),
            shut: false,
        }
    }

    /// Decides about the next piece of work; what is admitted counts from then on.
    pub fn judge(&mut self, work: &Work<'_>) -> Entry {
        // What costs more than all slots of the holder takes all of them.
        let cost = work.cost.max(1).min(self.slots);
        if self.room < cost {
            return Entry::NoRoom;
        }
        for gate in [Gate::Build(work.build), Gate::Tenant(work.tenant.to_owned())] {
            if self.paused.contains(&gate) {
                return Entry::Parked(gate);
            }
        }
        let mut met = Vec::new();
        let mut short = Vec::new();
        let mut wait = Duration::ZERO;
        for (index, limit) in self.limits.iter().enumerate() {
            let Some(value) = limit.value_of(self.lane, work) else { continue };
            let place = (index, value.to_owned());
            if let Some(most) = limit.concurrency {
                let used = self.in_use.get(&place).copied().unwrap_or(0);
                // What costs more than the whole limit may run alone.
                let over = most < used.saturating_add(work.cost.max(1)) && (0 < used || most == 0);
                if over || self.turned_away.contains(&place) {
                    self.shut |= limit.by == By::All;
                    self.turned_away.insert(place.clone());
                    let (name, value) = (limit.name.clone(), place.1);
                    return Entry::Parked(Gate::Limit { name, value });
                }
            }
            if let Some(rate) = limit.rate {
                let promised = self.promised.get(&place).copied().unwrap_or(0.0);
                let left = self.left(&place, rate) - promised;
                if left < NEARLY_ONE {
                    self.shut |= limit.by == By::All;
                    short.push(place.clone());
                    let secs = (1.0 - left) * rate.per.as_secs_f64() / f64::from(rate.count);
                    wait = wait.max(Duration::from_secs_f64(secs));
                }
            }
            met.push(place);
        }
        if !wait.is_zero() {
            // Each waits for a token of its own, so that they do not all come back for the first.
            for place in short {
                *self.promised.entry(place).or_default() += 1.0;
            }
            return Entry::Delayed(wait);
        }
        for place in met {
            let used = self.in_use.entry(place.clone()).or_default();
            *used = used.saturating_add(work.cost.max(1));
            if let Some(rate) = self.limits[place.0].rate {
                let tokens = self.tokens.entry(place.clone()).or_insert(f64::from(rate.count));
                *tokens = (*tokens - 1.0).max(0.0);
                self.drawn.insert(place);
            }
        }
        self.room -= cost;
        Entry::Admitted
    }

    fn left(&self, place: &(usize, String), rate: Rate) -> f64 {
        self.tokens.get(place).copied().unwrap_or(f64::from(rate.count))
    }

    /// The slots that are left of the holder's room.
    pub const fn room(&self) -> u32 {
        self.room
    }

    /// Whether a limit that holds for all work of the lane has turned work away: there is no use in
    /// judging more.
    pub const fn is_shut(&self) -> bool {
        self.shut
    }

    /// How much more may begin at a gate where work is parked: it is let out up to this cost and
    /// judged again.
    pub fn room_at(&self, gate: &Gate) -> u32 {
        match gate {
            Gate::Time | Gate::Turn => 0,
            Gate::Tenant(_) | Gate::Build(_) | Gate::Lane(_) => {
                if self.paused.contains(gate) {
                    0
                } else {
                    u32::MAX
                }
            }
            Gate::Limit { name, value } => {
                let found = self.limits.iter().enumerate().find(|(_, limit)| limit.name == *name);
                match found {
                    // The limit is gone, or has become one of rate alone.
                    None | Some((_, Limit { concurrency: None, .. })) => u32::MAX,
                    Some((index, Limit { concurrency: Some(most), .. })) => {
                        let place = (index, value.clone());
                        if self.turned_away.contains(&place) {
                            return 0;
                        }
                        most.saturating_sub(self.in_use.get(&place).copied().unwrap_or(0))
                    }
                }
            }
        }
    }

    /// The buckets that were drawn from, as they are to be written, with an age of zero.
    pub fn buckets(&self) -> Vec<Bucket> {
        self.drawn
            .iter()
            .filter_map(|place| {
                Some(Bucket {
                    limit: self.limits[place.0].name.clone(),
                    value: place.1.clone(),
                    tokens: *self.tokens.get(place)?,
                    age: Duration::ZERO,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
