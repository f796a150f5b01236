//! What a client wants, checked: a brief that exists can be planned.
//!
//! Knows bounds and words; not who asked, and not what will come of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{dependency::OnLoss, words};

/// What a client wants, as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    pub prompt: String,
    pub project_type: Option<String>,
    pub framework: Option<String>,
    pub complexity: Option<Complexity>,
    pub features: Vec<String>,
    pub project_id: Option<String>,
    pub require_approval: bool,
    pub on_task_failure: OnTaskFailure,
    /// What a lost task means for those who wait for it, where its plan does not say.
    #[serde(default)]
    pub on_loss: OnLoss,
    /// 1 runs first, 5 last.
    pub priority: u8,
    /// How long after its submission the build may take. Then it fails.
    pub deadline_secs: Option<u64>,
    /// Work with the same key is limited together.
    #[serde(default)]
    pub limit_key: Option<String>,
    #[serde(default)]
    pub budget: Budget,
    /// Whether its tasks may be answered with results of others, and answer others.
    #[serde(default = "yes")]
    pub cache: bool,
    /// Whatever the client wants to find again; never read by the fleet.
    pub metadata: Map<String, Value>,
}

const fn yes() -> bool {
    true
}

/// What a build may use of models. One that asks no model uses nothing, so any budget holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// In millionths of a US dollar.
    pub microusd_max: Option<u64>,
    pub tokens_max: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Complexity {
    Simple,
    Moderate,
    Complex,
}

words!(Complexity { Simple = "simple", Moderate = "moderate", Complex = "complex" });

/// What a failed task means for the rest of its build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnTaskFailure {
    /// What does not depend on it goes on.
    #[default]
    Continue,
    /// Nothing new begins, and what runs is cancelled.
    FailFast,
}

words!(OnTaskFailure { Continue = "continue", FailFast = "fail_fast" });

pub const PROMPT_CHARS_MAX: usize = 20_000;
pub const FEATURES_MAX: usize = 50;
pub const FEATURE_CHARS_MAX: usize = 500;
pub const WORD_CHARS_MAX: usize = 100;
/// Serialised, in bytes.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// A week: a build that takes longer was forgotten, not wanted.
pub const DEADLINE_SECS_MAX: u64 = 7 * 24 * 3600;

/// One field that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Dotted, as the client wrote it: `webhook.url`.
    pub field: String,
    /// What would be right, as a clause: `must be between 1 and 5`.
    pub message: String,
}

impl Fault {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl Brief {
    /// A brief with nothing but words; everything else as if the client were silent.
    pub fn of(prompt: impl Into<String>) -> Self {
        Self {
            prompt: prompt.into(),
            project_type: None,
            framework: None,
            complexity: None,
            features: Vec::new(),
            project_id: None,
            require_approval: false,
            on_task_failure: OnTaskFailure::default(),
            on_loss: OnLoss::default(),
            priority: 3,
            deadline_secs: None,
            limit_key: None,
            budget: Budget::default(),
            cache: true,
            metadata: Map::new(),
        }
    }

    /// All that is wrong with it; empty if it can be accepted.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: String| faults.push(Fault::new(field, message));

        if self.prompt.trim().is_empty() {
            fault("prompt", "must say what to build".to_owned());
        }
        let chars = self.prompt.chars().count();
        if PROMPT_CHARS_MAX < chars {
            fault(
                "prompt",
                format!("must have at most {PROMPT_CHARS_MAX} characters, not {chars}"),
            );
        }
        for (field, word) in [
            ("project_type", &self.project_type),
            ("framework", &self.framework),
            ("project_id", &self.project_id),
            ("limit_key", &self.limit_key),
        ] {
            if let Some(word) = word
                && (word.trim().is_empty() || WORD_CHARS_MAX < word.chars().count())
            {
                fault(field, format!("must have 1 to {WORD_CHARS_MAX} characters"));
            }
        }
        if FEATURES_MAX < self.features.len() {
            fault("features", format!("must list at most {FEATURES_MAX} features"));
        }
        for (index, feature) in self.features.iter().enumerate() {
            if feature.trim().is_empty() || FEATURE_CHARS_MAX < feature.chars().count() {
                fault(
                    &format!("features[{index}]"),
                    format!("must have 1 to {FEATURE_CHARS_MAX} characters"),
                );
            }
        }
        if !(1..=5).contains(&self.priority) {
            fault("priority", "must be between 1 (first) and 5 (last)".to_owned());
        }
        if let Some(secs) = self.deadline_secs
            && !(1..=DEADLINE_SECS_MAX).contains(&secs)
        {
            fault("deadline_secs", format!("must be between 1 and {DEADLINE_SECS_MAX}"));
        }
        if METADATA_BYTES_MAX < serde_json::to_string(&self.metadata).map_or(0, |json| json.len()) {
            fault("metadata", format!("must have at most {METADATA_BYTES_MAX} bytes as JSON"));
        }
        faults
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> u64 {
        let features = self.features.iter().map(|feature| feature.len()).sum::<usize>();
        let metadata = serde_json::to_string(&self.metadata).map_or(0, |json| json.len());
        (self.prompt.len() + features + metadata) as u64
    }

    pub fn deadline(&self) -> Option<Duration> {
        self.deadline_secs.map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brief_of_words_alone_is_accepted() {
        assert_eq!(Brief::of("a to-do list").faults(), []);
    }

    #[test]
    fn every_fault_of_a_brief_is_named_at_once() {
        let brief = Brief {
            framework: Some(String::new()),
            features: vec!["search".to_owned(), " ".to_owned()],
            priority: 6,
            deadline_secs: Some(0),
            limit_key: Some("k".repeat(101)),
            metadata: Map::from_iter([("blob".to_owned(), "x".repeat(20_000).into())]),
            ..Brief::of(" \n")
        };

        let fields: Vec<_> = brief.faults().into_iter().map(|fault| fault.field).collect();

        assert_eq!(
            fields,
            [
                "prompt",
                "framework",
                "limit_key",
                "features[1]",
                "priority",
                "deadline_secs",
                "metadata"
            ]
        );
    }
}
