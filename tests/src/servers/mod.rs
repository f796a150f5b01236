//! Real servers on private ports and in private folders, ended with whoever started them.

pub mod cluster;
pub mod postgres;
pub mod redis;

pub use postgres::Postgres;
