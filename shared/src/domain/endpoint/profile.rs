//! How patiently an endpoint is tried.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{
    attempt::FailureKind,
    brief::Fault,
    retry::{Jitter, Policy, Verdict},
};

pub const WAITS_MAX: usize = 30;
/// A week.
pub const WAIT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Waits of Standard Webhooks, in seconds: eleven attempts within three days and a few hours.
const STANDARD: [u64; 10] =
    [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600, 24 * 3600];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Profile {
    /// Five attempts, after 1, 2, 4 and 8 seconds (S2-49): what the policy of deliveries says.
    #[default]
    Required,
    /// Over days, as Standard Webhooks recommends.
    Standard,
    /// The wait before each retry.
    Own(Vec<Duration>),
}

impl Profile {
    /// Decides what follows a failure. `failures` and `crashes` count this one; `policy` is that of
    /// whoever tries. A receiver may ask for a longer wait, but not for more attempts.
    pub fn judge(
        &self,
        policy: &Policy,
        kind: FailureKind,
        (failures, crashes): (u32, u32),
        jitter: Jitter,
        asked: Option<Duration>,
    ) -> Verdict {
        let waits: Vec<Duration> = match self {
            Profile::Standard => STANDARD.iter().copied().map(Duration::from_secs).collect(),
            Profile::Own(waits) => waits.clone(),
            Profile::Required => Vec::new(),
        };
        let verdict = match (self, kind) {
            (Profile::Required, _) | (_, FailureKind::Permanent | FailureKind::Lost) => {
                policy.judge(kind, failures, crashes, jitter)
            }
            (_, FailureKind::Transient) => {
                let place = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
                match waits.get(place) {
                    Some(wait) => Verdict::Retry { after: jitter.spread(*wait) },
                    None => Verdict::GiveUp,
                }
            }
        };
        match (verdict, asked) {
            (Verdict::Retry { after }, Some(asked)) => Verdict::Retry { after: after.max(asked) },
            (verdict, _) => verdict,
        }
    }

    pub fn faults(&self) -> Option<Fault> {
        let Profile::Own(waits) = self else { return None };
        if !(1..=WAITS_MAX).contains(&waits.len()) {
            return Some(Fault::new("retry", "must be required, standard, or 1 to 30 waits"));
        }
        let odd = waits.iter().any(|wait| WAIT_MAX < *wait);
        odd.then(|| Fault::new("retry", "must have no wait above 604800 seconds"))
    }
}

/// A word, or a list of seconds.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Word(String),
    Secs(Vec<f64>),
}

impl Serialize for Profile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Profile::Required => Written::Word("required".to_owned()),
            Profile::Standard => Written::Word("standard".to_owned()),
            Profile::Own(waits) => Written::Secs(waits.iter().map(Duration::as_secs_f64).collect()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Profile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let odd = "must be required, standard, or a list of seconds";
        match Written::deserialize(deserializer) {
            Ok(Written::Word(word)) if word == "required" => Ok(Profile::Required),
            Ok(Written::Word(word)) if word == "standard" => Ok(Profile::Standard),
            Ok(Written::Secs(secs)) => secs
                .into_iter()
                .map(|secs| Duration::try_from_secs_f64(secs).ok())
                .collect::<Option<_>>()
                .map(Profile::Own)
                .ok_or_else(|| serde::de::Error::custom(odd)),
            Ok(Written::Word(_)) | Err(_) => Err(serde::de::Error::custom(odd)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(profile: &Profile, asked: Option<Duration>) -> Vec<u64> {
        let judge = |failures| {
            profile.judge(
                &Policy::DELIVERY,
                FailureKind::Transient,
                (failures, 0),
                Jitter::NONE,
                asked,
            )
        };
        (1..)
            .map_while(|failures| match judge(failures) {
                Verdict::Retry { after } => Some(after.as_secs()),
                Verdict::GiveUp => None,
            })
            .collect()
    }

    #[test]
    fn each_profile_has_its_waits() {
        assert_eq!(waits(&Profile::Required, None), [1, 2, 4, 8]);
        assert_eq!(waits(&Profile::Standard, None), STANDARD);
        let own = Profile::Own(vec![Duration::ZERO, Duration::from_secs(90)]);
        assert_eq!(waits(&own, None), [0, 90]);
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_wait_only() {
        assert_eq!(waits(&Profile::Required, Some(Duration::from_secs(3))), [3, 3, 4, 8]);
    }

    #[test]
    fn what_goes_the_same_way_every_time_is_not_tried_again() {
        let judge = |kind, counts| {
            Profile::Standard.judge(&Policy::DELIVERY, kind, counts, Jitter::NONE, None)
        };

        assert_eq!(judge(FailureKind::Permanent, (1, 0)), Verdict::GiveUp);
        let again = Verdict::Retry { after: Duration::ZERO };
        assert_eq!(judge(FailureKind::Lost, (0, 9)), again);
        assert_eq!(judge(FailureKind::Lost, (0, 10)), Verdict::GiveUp);
    }

    #[test]
    fn a_profile_is_read_as_it_was_written() {
        let own = Profile::Own(vec![Duration::from_millis(1500)]);
        for (profile, text) in [
            (Profile::Required, "\"required\""),
            (Profile::Standard, "\"standard\""),
            (own, "[1.5]"),
        ] {
            assert_eq!(serde_json::to_string(&profile).unwrap(), text);
            assert_eq!(serde_json::from_str::<Profile>(text).unwrap(), profile);
        }
        assert!(serde_json::from_str::<Profile>("[-1]").is_err());
        assert!(serde_json::from_str::<Profile>("\"often\"").is_err());
    }
}
