//! Who is told of events: an address with its manners.
//!
//! An endpoint belongs to a tenant and hears of all its builds, or it is the target of one build
//! and lives as long as that. What is told to it, how fast, how often again and in which order is
//! its own affair; how it fares is in `health.rs`, and how much may be on its way in `room.rs`.

pub mod filter;
pub mod profile;
pub mod health;
pub mod room;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

pub use self::{filter::Filter, health::Health, profile::Profile};
use super::{
    brief::Fault,
    id::{BuildId, EndpointId},
    limit, words,
};

/// Whether anything is sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Enabled,
    /// By a person.
    Disabled,
    /// By its own wish, or because it has answered nothing for too long.
    AutoDisabled,
}

words!(State { Enabled = "enabled", Disabled = "disabled", AutoDisabled = "auto_disabled" });

/// The log of what is told about an endpoint itself. It is kept like that of a build, under the
/// endpoint's own ULID, and no build has that.
pub fn log_of(endpoint: EndpointId) -> BuildId {
    BuildId::from(endpoint.ulid())
}

/// What a person decides of an endpoint, beside its secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub url: String,
    pub events: Filter,
    /// Sent with every request; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The most requests in so long. `None`: as many as it takes.
    pub rate: Option<limit::Rate>,
    /// The most requests on their way at once, over the whole fleet.
    pub concurrency: Option<u32>,
    pub retry: Profile,
    /// Whether events of one build come one after the other, and the next only when the one before
    /// it has arrived or was given up.
    pub ordered: bool,
    /// For people.
    pub description: String,
}

impl Settings {
    /// An endpoint that wants everything about builds, in order, tried as the requirements say.
    pub fn of(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            events: Filter::default(),
            headers: BTreeMap::new(),
            rate: None,
            concurrency: None,
            retry: Profile::Required,
            ordered: true,
            description: String::new(),
        }
    }

    /// All that is wrong with it. Whether its address may be reached is not judged here.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: &str| faults.push(Fault::new(field, message));
        match Url::parse(&self.url) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") || url.host().is_none() => {
                fault("url", "must be an http or https URL with a host");
            }
            Ok(_) if URL_CHARS_MAX < self.url.chars().count() => {
                fault("url", "must have at most 2000 characters");
            }
            Ok(_) => {}
            Err(_) => fault("url", "must be an http or https URL with a host"),
        }
        if let Some(rate) = self.rate {
            if !(1..=limit::RATE_COUNT_MAX).contains(&rate.count) {
                fault("rate.count", "must be between 1 and 1000000");
            }
            if !(Duration::from_millis(1)..=limit::RATE_PER_MAX).contains(&rate.per) {
                fault("rate.per_secs", "must be between 0.001 and 86400");
            }
        }
        if self.concurrency.is_some_and(|most| !(1..=CONCURRENCY_MAX).contains(&most)) {
            fault("concurrency", "must be between 1 and 10000");
        }
        if DESCRIPTION_CHARS_MAX < self.description.chars().count() {
            fault("description", "must have at most 500 characters");
        }
        faults.extend(self.events.faults());
        faults.extend(self.retry.faults());
        faults.extend(header_faults(&self.headers));
        faults
    }
}

pub const URL_CHARS_MAX: usize = 2000;
pub const DESCRIPTION_CHARS_MAX: usize = 500;
pub const CONCURRENCY_MAX: u32 = 10_000;
pub const HEADERS_MAX: usize = 20;
pub const HEADER_VALUE_BYTES_MAX: usize = 4096;

/// Secrets of an endpoint that go on signing after others took their place.
pub const OLD_SECRETS_MAX: usize = 10;
/// How long an old secret goes on signing unless something else was asked for.
pub const GRACE: Duration = Duration::from_secs(24 * 3600);
/// A week.
pub const GRACE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Headers that are ours, or that belong to the connection.
const RESERVED: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
const RESERVED_BEGINNINGS: &[&str] = &["webhook-", "x-webhook-", "proxy-", "sec-", "x-forwarded-"];

fn header_faults(headers: &BTreeMap<String, String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    if HEADERS_MAX < headers.len() {
        faults.push(Fault::new("headers", "must have at most 20 members"));
    }
    for (name, value) in headers {
        let field = || format!("headers.{name}");
        let token =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if name.is_empty() || 100 < name.len() || !name.bytes().all(token) {
            let message = "must be a name of 1 to 100 characters out of lower-case letters, \
                           digits, hyphen, underscore and dot";
            faults.push(Fault::new(field(), message));
        } else if RESERVED.contains(&name.as_str())
            || RESERVED_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        {
            faults.push(Fault::new(field(), "is a header that is sent already"));
        }
        let visible = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
        if HEADER_VALUE_BYTES_MAX < value.len() || !value.bytes().all(visible) {
            faults.push(Fault::new(field(), "must have at most 4096 visible ASCII characters"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(settings: &Settings) -> Vec<String> {
        settings.faults().into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn every_fault_is_named() {
        let settings = Settings {
            url: "ftp://receiver.test/".to_owned(),
            events: Filter::of(&["task_*", "nothing_*"]),
            headers: BTreeMap::from([
                ("x-team".to_owned(), "blue".to_owned()),
                ("webhook-id".to_owned(), "1".to_owned()),
                ("x-line".to_owned(), "a\nb".to_owned()),
                ("X-Upper".to_owned(), String::new()),
            ]),
            rate: Some(limit::Rate { count: 0, per: Duration::ZERO }),
            concurrency: Some(0),
            retry: Profile::Own(Vec::new()),
            ordered: false,
            description: "x".repeat(501),
        };

        assert_eq!(
            fields(&settings),
            [
                "url",
                "rate.count",
                "rate.per_secs",
                "concurrency",
                "description",
                "events",
                "retry",
                "headers.X-Upper",
                "headers.webhook-id",
                "headers.x-line",
            ]
        );
    }

    #[test]
    fn what_is_right_has_no_fault() {
        let mut settings = Settings::of("https://receiver.test/hook");
        settings.headers.insert("authorization".to_owned(), "Bearer of news".to_owned());

        assert_eq!(settings.faults(), []);
    }
}
