//! The kinds of leased work, each worked on by its own program.

use super::words;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Builds that want a plan.
    Plans,
    Tasks,
    Deliveries,
}

words!(Lane { Plans = "plans", Tasks = "tasks", Deliveries = "deliveries" });

impl Lane {
    /// Its place among all lanes, from 0.
    pub const fn index(self) -> usize {
        self as usize
    }
}
