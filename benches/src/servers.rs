//! The servers that benches stand on: started by them, on private ports, durable as in a fleet.

// What starts a server is the same for a test and for a bench. The package `tests` itself would
// bring the suites of the conformance along into what is measured.
#[path = "../../tests/src/servers/postgres.rs"]
pub mod postgres;
#[path = "../../tests/src/servers/redis.rs"]
pub mod redis;

pub use self::{postgres::Postgres, redis::Redis};

/// An empty Redis that appends what it hears to a file, and flushes that every second.
pub fn redis() -> Redis {
    let redis = Redis::start();
    redis.command::<()>(&["CONFIG", "SET", "appendfsync", "everysec"]);
    redis.command::<()>(&["CONFIG", "SET", "appendonly", "yes"]);
    // The file is begun in the background.
    loop {
        let info: String = redis.command(&["INFO", "persistence"]);
        if info.contains("aof_rewrite_in_progress:0") && info.contains("aof_enabled:1") {
            return redis;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// A Postgres that has every commit on disk before it says so. Beside that, it may keep what it
/// writes out of the way for as long as a bench lasts; all who are compared stand on it alike.
pub fn postgres() -> Postgres {
    Postgres::with(
        "-c fsync=on -c synchronous_commit=on -c full_page_writes=on -c shared_buffers=256MB \
         -c max_wal_size=4GB",
    )
}
