//! The fleet in a glass: the engine's own code on a store, a queue and a clock that a seed rules.
//!
//! What is real: serving, waking, keeping leases, sweeping, planning, running and all of the
//! domain. What is not: the database, the queue's server, the network, the time, and the work
//! itself. ARCHITECTURE.md says what must always hold, and how a seed is run again.

pub mod chance;
pub mod store;
pub mod witness;
pub mod line;
pub mod faulty_store;
pub mod faulty_queue;
pub mod shapes;
pub mod work;
pub mod fleet;
pub mod director;
pub mod verdict;
pub mod run;
