//! Real servers, one for each test that asks, ended when the test ends.

pub mod redis;
