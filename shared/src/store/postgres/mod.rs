//! Lands with the store.
pub struct Postgres;
