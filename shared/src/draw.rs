//! Lots drawn at the edges: ids, jitter and salts. The only place that asks for chance.

use std::sync::{LazyLock, Mutex, PoisonError};

use ulid::{Generator, Ulid};

use crate::domain::{retry::Jitter, sealing::SALT_BYTES};

// One generator for the process, so that ids drawn within one millisecond still sort as drawn.
static GENERATOR: LazyLock<Mutex<Generator>> = LazyLock::new(|| Mutex::new(Generator::new()));

/// Draws an id: `draw::id::<TaskId>()`. Ids drawn by one process ascend.
pub fn id<I: From<Ulid>>() -> I {
    let mut generator = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    // The generator refuses only after 2^80 ids within one millisecond.
    I::from(generator.generate().unwrap_or_else(|_| Ulid::generate()))
}

/// Draws the salt of one sealing.
pub fn salt() -> [u8; SALT_BYTES] {
    rand::random()
}

/// Draws the jitter of one retry.
pub fn jitter() -> Jitter {
    Jitter::new(rand::random())
}
