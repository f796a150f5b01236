//! The fleet under test, one binary.

mod store;
