//! A number of everything that was told: two runs with the same number were the same run.

use buildfleet::job::Job;

use crate::sim::store::feed::Fact;

pub(super) fn mixed(value: u64) -> u64 {
    let mixed = (value ^ (value >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ (mixed >> 32)
}

fn of_job(job: Job) -> u64 {
    let ulid = match job {
        Job::Plan(id) => id.ulid(),
        Job::Task(id) => id.ulid(),
        Job::Delivery(id) => id.ulid(),
    };
    // Drawn from a counter.
    (ulid.random() as u64) << 2 | job.lane().index() as u64
}

/// A number of a fact, the same in every run. Words that are long are left out: something beside
/// them differs if they do.
pub(super) fn digest(fact: &Fact) -> u64 {
    let (kind, job, more) = match fact {
        Fact::Work { job, cost, .. } => (1, of_job(*job), u64::from(*cost)),
        Fact::Ready { job, due_at, parked_on, .. } => {
            (2, of_job(*job), due_at.unsigned_abs() ^ u64::from(parked_on.is_some()) << 60)
        }
        Fact::Claimed { job, attempt, until, .. } => {
            (3, of_job(*job), until.unsigned_abs() ^ u64::from(*attempt) << 48)
        }
        Fact::Extended { job, until, .. } => (4, of_job(*job), until.unsigned_abs()),
        Fact::Ended { job, attempt, how } => {
            (5, of_job(*job), u64::from(*attempt) << 8 | *how as u64)
        }
        Fact::Build { build, to, .. } => (6, of_job(Job::Plan(*build)), *to as u64),
        Fact::Task { task, to, .. } => (7, of_job(Job::Task(*task)), *to as u64),
        Fact::Delivery { delivery, to, .. } => (8, of_job(Job::Delivery(*delivery)), *to as u64),
        Fact::Planned { build, tasks } => (9, of_job(Job::Plan(*build)), tasks.len() as u64),
        Fact::Event { build, seq, kind, .. } => {
            (10, of_job(Job::Plan(*build)), *seq << 8 | *kind as u64)
        }
        Fact::Announced { delivery, seq, .. } => (11, of_job(Job::Delivery(*delivery)), *seq),
        Fact::Limits(limits) => (12, limits.len() as u64, 0),
        Fact::Weight { weight, .. } => (13, weight.to_bits(), 0),
        Fact::Paused { is_paused, .. } => (14, u64::from(*is_paused), 0),
    };
    mixed(mixed(kind ^ job.rotate_left(7)) ^ more)
}
