//! Which events an endpoint wants: kinds, and patterns with an asterisk.

use serde::{Deserialize, Serialize};

use crate::domain::{brief::Fault, event::Kind};

pub const PATTERNS_MAX: usize = 50;

/// Words such as `task_failed`, `task_*` and `*`. Empty: everything about builds.
///
/// What is told about endpoints themselves is heard only by those who name it, or its beginning
/// with an asterisk: an asterisk alone means builds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Filter(pub Vec<String>);

impl Filter {
    pub fn of(patterns: &[&str]) -> Self {
        Self(patterns.iter().map(|pattern| (*pattern).to_owned()).collect())
    }

    pub fn wants(&self, kind: Kind) -> bool {
        if self.0.is_empty() {
            return !kind.is_about_endpoints();
        }
        self.0.iter().any(|pattern| meets(pattern, kind))
    }

    pub fn faults(&self) -> Option<Fault> {
        if PATTERNS_MAX < self.0.len() {
            return Some(Fault::new("events", "must have at most 50 members"));
        }
        // A pattern that meets nothing is a mistake of writing.
        let odd = self.0.iter().find(|pattern| !Kind::ALL.iter().any(|kind| meets(pattern, *kind)));
        odd.map(|pattern| {
            Fault::new("events", format!("{pattern:?} is no event, and no pattern of any"))
        })
    }
}

impl From<&[Kind]> for Filter {
    fn from(kinds: &[Kind]) -> Self {
        Self(kinds.iter().map(|kind| kind.as_str().to_owned()).collect())
    }
}

fn meets(pattern: &str, kind: Kind) -> bool {
    match pattern {
        "*" => !kind.is_about_endpoints(),
        _ => is_like(pattern.as_bytes(), kind.as_str().as_bytes()),
    }
}

/// An asterisk stands for any number of characters.
fn is_like(pattern: &[u8], word: &[u8]) -> bool {
    match pattern.split_first() {
        None => word.is_empty(),
        Some((b'*', rest)) => (0..=word.len()).any(|skipped| is_like(rest, &word[skipped..])),
        Some((letter, rest)) => {
            word.split_first().is_some_and(|(first, word)| first == letter && is_like(rest, word))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_met_as_written() {
        let wants = |patterns: &[&str], kind| Filter::of(patterns).wants(kind);

        assert!(wants(&[], Kind::BuildStarted) && wants(&["*"], Kind::BuildStarted));
        assert!(wants(&["task_*"], Kind::TaskFailed) && !wants(&["task_*"], Kind::TasksAdded));
        assert!(wants(&["*_failed"], Kind::TaskFailed) && wants(&["*_failed"], Kind::BuildFailed));
        assert!(wants(&["plan_*", "task_failed"], Kind::TaskFailed));
        assert!(!wants(&["task_failed"], Kind::TaskTimeout));
        assert!(!wants(&["task"], Kind::TaskFailed));
    }

    #[test]
    fn news_of_endpoints_is_told_to_those_who_name_it() {
        let wants = |patterns: &[&str]| Filter::of(patterns).wants(Kind::EndpointDisabled);

        assert!(wants(&["endpoint_*"]) && wants(&["endpoint_disabled"]));
        assert!(!wants(&[]) && !wants(&["*"]));
    }
}
