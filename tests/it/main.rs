//! The fleet under test, in one binary.

mod store;
mod killed;
