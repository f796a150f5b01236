//! The rules: what may happen next, as plain functions from values to values.
//!
//! No IO, no clock, no chance, no async: built with `--no-default-features`, nothing else is left
//! of this package. Whoever has read `settle.rs` knows how a build comes to its end.

pub mod id;
pub mod lane;
pub mod brief;
pub mod build;
pub mod dependency;
pub mod plan;
pub mod cycles;
pub mod task;
pub mod attempt;
pub mod retry;
pub mod settle;
pub mod estimate;
pub mod rank;
pub mod limit;
pub mod event;
pub mod delivery;
pub mod endpoint;
pub mod address;
pub mod target;
pub mod answer;
pub mod exchange;
pub mod signing;
pub mod sealing;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod tables;

/// A trigger met a state in which it cannot happen. A bug of the caller, and logged as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {machine} in state {state} cannot be {trigger}")]
pub struct IllegalTransition {
    pub machine: &'static str,
    pub state: &'static str,
    pub trigger: &'static str,
}

/// Gives a state machine's enum its words: `as_str`, `ALL`, `FromStr` and `Display`.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// Every value, in the order of a life.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word used in the store, on the wire and in logs.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok($name::$variant),)+
                    _ => Err($crate::domain::UnknownWord {
                        of: stringify!($name),
                        word: word.to_owned(),
                    }),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use words;

/// A word that names no value of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no {of}")]
pub struct UnknownWord {
    pub of: &'static str,
    pub word: String,
}
