//! What a commit of the model store did, fact by fact, as a replica would hear of it.
//!
//! Whoever watches judges the store by this alone: it shares neither the store's rows nor its
//! reasoning.

use std::fmt;

use buildfleet::{
    domain::{
        attempt, build, delivery,
        dependency::OnLoss,
        event::Kind,
        id::{BuildId, DeliveryId, EndpointId, HolderId, TaskId},
        limit::{Gate, Limit},
        task,
    },
    job::Job,
    store::Fence,
};

/// One change of the record.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// Work is new in the record, of whatever lane; it may not be ready yet.
    Work {
        job: Job,
        build: BuildId,
        tenant: String,
        band: u8,
        kind: String,
        key: Option<String>,
        cost: u32,
    },
    /// It is ready: it waits in its lane, claimable unless it is parked.
    Ready {
        job: Job,
        rank: f64,
        due_at: i64,
        parked_on: Option<Gate>,
    },
    Claimed {
        job: Job,
        attempt: u32,
        holder: HolderId,
        until: i64,
    },
    Extended {
        job: Job,
        attempt: u32,
        until: i64,
    },
    /// Nobody holds it any more. `attempt` is the one that the store says has ended.
    Ended {
        job: Job,
        attempt: u32,
        how: attempt::State,
    },
    Build {
        build: BuildId,
        from: Option<build::State>,
        to: build::State,
    },
    Task {
        task: TaskId,
        from: Option<task::State>,
        to: task::State,
    },
    Delivery {
        delivery: DeliveryId,
        from: Option<delivery::State>,
        to: delivery::State,
    },
    /// A plan was kept, or grew: each new task with what it waits for.
    Planned {
        build: BuildId,
        tasks: Vec<(TaskId, Vec<(TaskId, OnLoss)>)>,
    },
    Event {
        build: BuildId,
        seq: u64,
        kind: Kind,
        task: Option<TaskId>,
    },
    Announced {
        delivery: DeliveryId,
        build: BuildId,
        endpoint: EndpointId,
        seq: u64,
    },
    Limits(Vec<Limit>),
    Weight {
        tenant: String,
        weight: f64,
    },
    Paused {
        gate: Gate,
        is_paused: bool,
    },
}

/// The name of an id that was drawn from a counter.
fn short(id: ulid::Ulid) -> String {
    match id.random() {
        number if number < 1 << 60 => number.to_string(),
        number => format!("c{}", number % (1 << 60)),
    }
}

impl fmt::Display for Fact {
    /// Short, for people who read a trace: `task 12` is the twelfth thing that the store drew.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |job: &Job| match job {
            Job::Plan(id) => format!("build {}", short(id.ulid())),
            Job::Task(id) => format!("task {}", short(id.ulid())),
            Job::Delivery(id) => format!("delivery {}", short(id.ulid())),
        };
        match self {
            Fact::Work { job, build, tenant, band, cost, .. } => {
                let build = name(&Job::Plan(*build));
                write!(f, "{} is {tenant}'s at {band}, of {build}, costs {cost}", name(job))
            }
            Fact::Ready { job, rank, due_at, parked_on } => match parked_on {
                None => write!(f, "{} is ready at {rank}", name(job)),
                Some(Gate::Time) => write!(f, "{} is parked until {}", name(job), due_at % DAY),
                Some(gate) => write!(f, "{} is parked at {gate}", name(job)),
            },
            Fact::Claimed { job, attempt, holder, until } => {
                let holder = holder.to_string();
                let holder = &holder[holder.len() - 4..];
                write!(f, "{} claimed ({attempt}) by {holder} until {}", name(job), until % DAY)
            }
            Fact::Extended { job, attempt, until } => {
                write!(f, "{} ({attempt}) kept until {}", name(job), until % DAY)
            }
            Fact::Ended { job, attempt, how } => write!(f, "{} ({attempt}) {how}", name(job)),
            Fact::Build { build, to, .. } => write!(f, "{} -> {to}", name(&Job::Plan(*build))),
            Fact::Task { task, to, .. } => write!(f, "{} -> {to}", name(&Job::Task(*task))),
            Fact::Delivery { delivery, to, .. } => {
                write!(f, "{} -> {to}", name(&Job::Delivery(*delivery)))
            }
            Fact::Planned { tasks, .. } => write!(f, "planned {} tasks", tasks.len()),
            Fact::Event { build, seq, kind, .. } => {
                write!(f, "{} tells {seq} {kind}", name(&Job::Plan(*build)))
            }
            Fact::Announced { delivery, seq, .. } => {
                write!(f, "{} is of event {seq}", name(&Job::Delivery(*delivery)))
            }
            Fact::Limits(limits) => write!(f, "{} limits", limits.len()),
            Fact::Weight { tenant, weight } => write!(f, "{tenant} weighs {weight}"),
            Fact::Paused { gate, is_paused } => write!(f, "{gate} paused: {is_paused}"),
        }
    }
}

/// Instants in a trace are those of a day, in milliseconds.
const DAY: i64 = 86_400_000;

/// A verb and what it did. What was refused must have done nothing.
#[derive(Debug)]
pub struct Commit<'a> {
    /// In milliseconds, by the store's clock.
    pub at: i64,
    pub verb: &'static str,
    /// What a worker named when it wrote.
    pub fence: Option<Fence>,
    pub is_refused: bool,
    pub facts: &'a [Fact],
}

/// Whoever hears of each commit, in order.
pub trait Watch: Send {
    fn committed(&mut self, commit: &Commit<'_>);
}

/// A bug that the store is made to have, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A settle asks only whether the task is in progress, not whose attempt that is.
    Fence,
    /// A dependent is released while one dependency is open, as by a count read before another
    /// settle was written, and again with the last.
    Release,
    /// A claim counts only its own holder's leases under the limits, as if each process kept a
    /// counter of its own.
    Slot,
    /// A sweep settles what it saw lapsed without looking again whether it still is.
    Lapse,
    /// A delivery does not wait for its turn.
    Turn,
    /// Ranks are the order of arrival: first come, first served.
    Fair,
    /// Work that waits for its time is never let out again.
    Time,
    /// A settle without the event that tells of it, as by two commits of which one was lost.
    Half,
    /// A cancel leaves what runs to its holder.
    Cancel,
    /// A flow is not closed up when work goes out of it unclaimed.
    Gap,
}

impl Plant {
    pub const ALL: &'static [(&'static str, Plant)] = &[
        ("fence", Plant::Fence),
        ("release", Plant::Release),
        ("slot", Plant::Slot),
        ("lapse", Plant::Lapse),
        ("turn", Plant::Turn),
        ("fair", Plant::Fair),
        ("time", Plant::Time),
        ("half", Plant::Half),
        ("cancel", Plant::Cancel),
        ("gap", Plant::Gap),
    ];

    pub fn of(name: &str) -> Option<Plant> {
        Plant::ALL.iter().find(|(other, _)| *other == name).map(|(_, plant)| *plant)
    }
}
