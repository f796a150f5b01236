//! What came of an attempt at a delivery.

use std::time::Duration;

use crate::{
    domain::{
        attempt::Failure,
        endpoint::health::Seen,
        exchange::{Asked, Exchange},
    },
    store::SendResult,
};

/// What came of an attempt, known or not.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) failure: Option<Failure>,
    pub(super) status: Option<u16>,
    pub(super) took_ms: Option<i64>,
    pub(super) excerpt: Option<String>,
    pub(super) exchange: Option<Exchange>,
    pub(super) asked: Asked,
}

impl Sent {
    /// Its dispatcher fell silent: nobody knows what the receiver got.
    pub(super) fn lost() -> Self {
        Self { failure: Some(Failure::lost()), ..Self::default() }
    }

    pub(super) fn seen(&self) -> Seen<'_> {
        Seen {
            failure: self.failure.as_ref(),
            answered: self.status.is_some(),
            took: Duration::from_millis(self.took_ms.unwrap_or(0).unsigned_abs()),
            asked: &self.asked,
        }
    }
}

impl From<&SendResult> for Sent {
    fn from(result: &SendResult) -> Self {
        Self {
            failure: result.failure.clone(),
            status: result.status,
            took_ms: Some(i64::try_from(result.took_ms).unwrap_or(i64::MAX)),
            excerpt: result.excerpt.clone(),
            exchange: result.exchange.clone(),
            asked: result.asked.clone(),
        }
    }
}
