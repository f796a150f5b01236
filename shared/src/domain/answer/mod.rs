//! What a receiver's answer means: for the delivery, and for its endpoint.
//!
//! Only a 2xx is a success. What fails is tried again, since a receiver that refuses today may have
//! been mended by the next attempt; but it can say when to come back, that it wants no more of this
//! message, and that it wants nothing more at all. Redirects are never followed: where a webhook
//! goes is decided by whoever registered it.

mod date;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::attempt::Failure;

/// The header with which a receiver steers its own deliveries.
pub const CONTROL: &str = "webhook-delivery";

/// The longest pause that an answer can ask for. A receiver that is away for longer says 410, or
/// has its endpoint disabled; a typing error must not silence it for a year.
pub const PAUSE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The code of a failure by a status that is no success.
pub const REFUSED: &str = "refused";
/// The code of a failure by a redirect.
pub const REDIRECTED: &str = "redirected";
/// The code of a failure by 429.
pub const THROTTLED: &str = "throttled";
/// The code of a failure by 410.
pub const GONE: &str = "gone";
/// The code of a failure after which the receiver wants no more of the message.
pub const REJECTED: &str = "rejected";

/// The part of an answer that means something to us. Headers are as they came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answer<'a> {
    pub status: u16,
    pub retry_after: Option<&'a str>,
    /// The receiver's own clock, by which a date in `Retry-After` is read.
    pub date: Option<&'a str>,
    /// `webhook-delivery`.
    pub control: Option<&'a str>,
}

/// What follows from an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruling {
    /// `None`: delivered. A permanent failure is not tried again.
    pub failure: Option<Failure>,
    /// How long nothing at all is to be sent to the endpoint; at most `PAUSE_MAX`.
    pub pause: Option<Duration>,
    /// The endpoint has more than it can bear: send it less.
    pub throttle: bool,
    /// The endpoint wants nothing more, ever.
    pub disable: bool,
}

impl Answer<'_> {
    /// Says what follows. `now_ms` is our time, in milliseconds since 1970; it is asked only for a
    /// date from a receiver that does not tell its own.
    pub fn rule(&self, now_ms: i64) -> Ruling {
        let wants = |word: &str| {
            self.control.is_some_and(|control| {
                control.split(',').any(|w| w.trim().eq_ignore_ascii_case(word))
            })
        };
        let disable = wants("disable");
        let status = self.status;
        let failure = match status {
            200..=299 => return Ruling { disable, ..Ruling::default() },
            410 => Failure::permanent(
                GONE,
                "the receiver answered 410: it is gone, and its endpoint is disabled",
            ),
            _ if disable => Failure::permanent(
                REJECTED,
                format!("the receiver answered {status} and had its endpoint disabled"),
            ),
            _ if wants("abort-message") => Failure::permanent(
                REJECTED,
                format!("the receiver answered {status} and wants no more of this message"),
            ),
            300..=399 => Failure::transient(
                REDIRECTED,
                format!("the receiver answered {status}; redirects are not followed"),
            ),
            429 => Failure::transient(THROTTLED, "the receiver answered 429: too many requests"),
            _ => Failure::transient(REFUSED, format!("the receiver answered {status}")),
        };
        Ruling {
            failure: Some(failure),
            pause: self.pause(now_ms),
            throttle: matches!(status, 429 | 502..=504),
            disable: disable || status == 410,
        }
    }

    /// What `Retry-After` asks for: seconds, a fraction of seconds, or a date. What cannot be read
    /// asks for nothing.
    fn pause(&self, now_ms: i64) -> Option<Duration> {
        let text = self.retry_after?.trim();
        let pause = match seconds(text) {
            Some(pause) => pause,
            None => {
                let until_ms = date::parse(text)?.saturating_mul(1000);
                let now_ms = match self.date.and_then(|date| date::parse(date.trim())) {
                    Some(theirs) => theirs.saturating_mul(1000),
                    None => now_ms,
                };
                Duration::from_millis(until_ms.saturating_sub(now_ms).try_into().ok()?)
            }
        };
        Some(pause.min(PAUSE_MAX)).filter(|pause| !pause.is_zero())
    }
}

/// Reads `20` and `1.5`; nothing with a sign or an exponent.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    // So many digits that it does not fit is longer than any pause.
    let whole = whole.parse().unwrap_or(u64::from(u32::MAX));
    let ms = fraction
        .bytes()
        .chain(*b"000")
        .take(3)
        .fold(0, |ms, digit| ms * 10 + u64::from(digit - b'0'));
    Some(Duration::from_secs(whole).saturating_add(Duration::from_millis(ms)))
}
