//! "This task waits for that one", and what it means for it that the other is lost.
//!
//! A task is lost that ends otherwise than completed: it failed, was skipped or was cancelled.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{task, words};

/// What the loss of a task means for one that waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnLoss {
    /// It is skipped.
    #[default]
    Skip,
    /// It runs all the same.
    Continue,
    /// The build stops: whatever is open is cancelled.
    FailFast,
    /// It runs all the same, even when the build stops: it cleans up.
    AlwaysRun,
}

words!(OnLoss {
    Skip = "skip",
    Continue = "continue",
    FailFast = "fail_fast",
    AlwaysRun = "always_run",
});

impl OnLoss {
    /// Whether who waits is lost as well.
    pub const fn dooms(self) -> bool {
        matches!(self, OnLoss::Skip | OnLoss::FailFast)
    }

    /// How a dependency stands whose prerequisite is in a state.
    pub const fn standing(self, on: task::State) -> Standing {
        match on {
            task::State::Completed => Standing::Met,
            task::State::Pending | task::State::Ready | task::State::InProgress => Standing::Open,
            task::State::Failed | task::State::Skipped | task::State::Cancelled => {
                if self.dooms() {
                    Standing::Lost
                } else {
                    Standing::Met
                }
            }
        }
    }
}

/// How a dependency stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is waited for.
    Open,
    /// It holds nobody back.
    Met,
    /// Who waits cannot run.
    Lost,
}

/// A dependency of a plan, by the position of the task that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub on: usize,
    /// `None`: what the brief says for all.
    pub on_loss: Option<OnLoss>,
}

impl Need {
    pub const fn of(on: usize) -> Self {
        Self { on, on_loss: None }
    }
}

/// A dependency of a draft. Written as the key alone, or as `{"key": "fetch", "on_loss": "skip"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftNeed {
    /// Of the task that is waited for.
    pub key: String,
    /// `None`: what the brief says for all.
    pub on_loss: Option<OnLoss>,
}

impl From<String> for DraftNeed {
    fn from(key: String) -> Self {
        Self { key, on_loss: None }
    }
}

impl From<&str> for DraftNeed {
    fn from(key: &str) -> Self {
        key.to_owned().into()
    }
}

/// As it stands in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Key(String),
    Full(Full),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Full {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_loss: Option<String>,
}

impl Serialize for DraftNeed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = self.key.clone();
        match self.on_loss {
            None => Written::Key(key),
            Some(word) => Written::Full(Full { key, on_loss: Some(word.as_str().to_owned()) }),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DraftNeed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Key(key) => key.into(),
            Written::Full(Full { key, on_loss }) => {
                let on_loss = on_loss
                    .map(|word| word.parse::<OnLoss>())
                    .transpose()
                    .map_err(de::Error::custom)?;
                Self { key, on_loss }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_a_key_or_a_key_with_a_policy() {
        let read: Vec<DraftNeed> =
            serde_json::from_str(r#"["a", {"key": "b"}, {"key": "c", "on_loss": "always_run"}]"#)
                .unwrap();

        let on_loss = Some(OnLoss::AlwaysRun);
        assert_eq!(read, ["a".into(), "b".into(), DraftNeed { key: "c".to_owned(), on_loss }]);
        assert_eq!(
            serde_json::to_string(&read).unwrap(),
            r#"["a","b",{"key":"c","on_loss":"always_run"}]"#
        );
    }

    #[test]
    fn an_unknown_policy_is_no_dependency() {
        for text in [r#"{"key": "a", "on_loss": "hope"}"#, r#"{"key": "a", "onloss": "skip"}"#] {
            assert!(serde_json::from_str::<DraftNeed>(text).is_err(), "{text}");
        }
    }
}
