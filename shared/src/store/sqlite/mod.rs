//! Lands with the store.
pub struct Sqlite;
