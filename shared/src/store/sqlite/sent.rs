//! What came of an attempt at a delivery.

use crate::{domain::attempt::Failure, store::SendResult};

/// What came of an attempt, known or not.
pub(super) struct Sent {
    pub(super) failure: Option<Failure>,
    pub(super) status: Option<u16>,
    pub(super) took_ms: Option<i64>,
    pub(super) excerpt: Option<String>,
}

impl Sent {
    /// Its dispatcher fell silent: nobody knows what the receiver got.
    pub(super) fn lost() -> Self {
        Self { failure: Some(Failure::lost()), status: None, took_ms: None, excerpt: None }
    }
}

impl From<&SendResult> for Sent {
    fn from(result: &SendResult) -> Self {
        Self {
            failure: result.failure.clone(),
            status: result.status,
            took_ms: Some(i64::try_from(result.took_ms).unwrap_or(i64::MAX)),
            excerpt: result.excerpt.clone(),
        }
    }
}
