//! Who dials first, where one connection may do for all.
//!
//! Over TLS a receiver may speak HTTP/2, which carries many requests at once; but that is known
//! only once a connection stands. Until then those who come later wait for the first, or a burst of
//! webhooks would shake as many hands and throw all connections but one away. Receivers that turn
//! out to speak HTTP/1.1 are remembered, and dialled by everybody at once.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Receivers that are remembered. Forgetting one costs a few waits in turn.
const REMEMBERED_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    turns: HashMap<String, Arc<Turn<()>>>,
    /// Origins that speak HTTP/1.1 over TLS.
    one_by_one: HashSet<String>,
}

impl Turns {
    /// Waits until nobody else dials an origin; `None` at once where everybody may.
    pub(super) async fn wait(&self, origin: &str) -> Option<OwnedMutexGuard<()>> {
        let turn = {
            let mut known = self.lock();
            if !origin.starts_with("https:") || known.one_by_one.contains(origin) {
                return None;
            }
            if REMEMBERED_MAX <= known.turns.len() {
                // Whoever waits holds its turn itself.
                known.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            }
            Arc::clone(known.turns.entry(origin.to_owned()).or_default())
        };
        Some(turn.lock_owned().await)
    }

    /// From now on everybody may dial it.
    pub(super) fn is_one_by_one(&self, origin: &str) {
        let mut known = self.lock();
        if REMEMBERED_MAX <= known.one_by_one.len() {
            known.one_by_one.clear();
        }
        known.turns.remove(origin);
        known.one_by_one.insert(origin.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
