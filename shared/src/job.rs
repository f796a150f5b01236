//! The whole wire contract of the queue: a job is an id to look at, and nothing else; a notice
//! tells every process at once what it would otherwise find out later by itself.
//!
//! Handling either twice is harmless, and losing one costs time only: what is true stands in the
//! store.

use std::{fmt, str::FromStr};

use crate::domain::{
    id::{BuildId, DeliveryId, Malformed, TaskId},
    words,
};

/// A message in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Job {
    /// A build wants a plan.
    Plan(BuildId),
    /// A task wants to be run.
    Task(TaskId),
    /// A delivery wants to be sent.
    Delivery(DeliveryId),
}

/// The queues: one for each kind of job, each served by its own program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    Plans,
    Tasks,
    Deliveries,
}

words!(Lane { Plans = "plans", Tasks = "tasks", Deliveries = "deliveries" });

impl Job {
    pub const fn lane(self) -> Lane {
        match self {
            Job::Plan(_) => Lane::Plans,
            Job::Task(_) => Lane::Tasks,
            Job::Delivery(_) => Lane::Deliveries,
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Job::Plan(id) => id.fmt(f),
            Job::Task(id) => id.fmt(f),
            Job::Delivery(id) => id.fmt(f),
        }
    }
}

impl FromStr for Job {
    type Err = Malformed;

    /// The prefix of an id says which kind of job it is.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.starts_with(TaskId::PREFIX) {
            text.parse().map(Job::Task)
        } else if text.starts_with(DeliveryId::PREFIX) {
            text.parse().map(Job::Delivery)
        } else {
            text.parse().map(Job::Plan)
        }
    }
}

/// A word to every process of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Notice {
    /// Leases of this build may be gone: whoever holds some looks now.
    Recalled(BuildId),
}

const RECALLED: &str = "recalled ";

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Recalled(build) => write!(f, "{RECALLED}{build}"),
        }
    }
}

impl FromStr for Notice {
    type Err = Malformed;

    /// A program of a later version may send notices that are not known here. They are malformed to
    /// this one, which passes them over.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        text.strip_prefix(RECALLED).unwrap_or_default().parse().map(Notice::Recalled)
    }
}

#[cfg(test)]
mod tests {
    use ulid::Ulid;

    use super::*;

    #[test]
    fn a_job_is_read_back_from_its_text() {
        for job in [
            Job::Plan(Ulid::from_parts(1, 2).into()),
            Job::Task(Ulid::from_parts(1, 2).into()),
            Job::Delivery(Ulid::from_parts(1, 2).into()),
        ] {
            assert_eq!(job.to_string().parse(), Ok(job));
        }
        assert!("evt_01J8ZQ5W3V9K2M4N6P7R8S9T0A".parse::<Job>().is_err());
    }

    #[test]
    fn a_notice_is_read_back_from_its_text_and_others_are_refused() {
        let build = BuildId::from(Ulid::from_parts(1, 2));
        let notice = Notice::Recalled(build);

        assert_eq!(notice.to_string().parse(), Ok(notice));

        for strange in [String::new(), build.to_string(), format!("renamed {build}")] {
            assert!(strange.parse::<Notice>().is_err(), "{strange:?}");
        }
    }
}
