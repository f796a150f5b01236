//! The fleet under test.

pub mod servers;
