//! Names that cannot be mixed up: a ULID behind a prefix, one type for each thing.
//!
//! Ids are drawn at the edges (`draw.rs`) and only carried here.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

/// The text was no id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id of a {of} looks like {prefix}_01J8ZQ5W3V9K2M4N6P7R8S9T0A")]
pub struct Malformed {
    pub of: &'static str,
    pub prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $of:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// The ULID without its prefix, which sorts by the time it was drawn.
            pub const fn ulid(self) -> Ulid {
                self.0
            }
        }

        impl From<Ulid> for $name {
            fn from(ulid: Ulid) -> Self {
                Self(ulid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                text.strip_prefix(concat!($prefix, "_"))
                    // A ULID of lower-case letters names the same thing but is not how we write it;
                    // taking both would make two texts of one id.
                    .filter(|ulid| !ulid.bytes().any(|byte| byte.is_ascii_lowercase()))
                    .and_then(|ulid| Ulid::from_string(ulid).ok())
                    .map(Self)
                    .ok_or(Malformed { of: $of, prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

ids! {
    /// A brief on its way to an end.
    BuildId = "bld", "build";
    /// A checked graph of tasks.
    PlanId = "pln", "plan";
    /// A node of a plan.
    TaskId = "tsk", "task";
    /// A fact about a build.
    EventId = "evt", "event";
    /// An address that wants events.
    EndpointId = "end", "endpoint";
    /// The telling of one event to one endpoint.
    DeliveryId = "dlv", "delivery";
    /// Deliveries that are sent again together.
    ReplayId = "rpl", "replay";
    /// A process that holds leases; drawn at each start.
    HolderId = "hld", "holder";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_as_it_was_written() {
        let id = BuildId::from(Ulid::from_parts(1_763_724_000_000, 42));

        let read: BuildId = id.to_string().parse().unwrap();

        assert_eq!(read, id);
        assert!(id.to_string().starts_with("bld_01"));
    }

    #[test]
    fn an_id_of_another_kind_or_spelling_is_refused() {
        let id = BuildId::from(Ulid::from_parts(1_763_724_000_000, 42));

        assert!(id.to_string().parse::<TaskId>().is_err());
        assert!(id.to_string().to_lowercase().parse::<BuildId>().is_err());
        assert!("bld_".parse::<BuildId>().is_err());
        assert!("bld_01J8ZQ5W3V9K2M4N6P7R8S9T0A0".parse::<BuildId>().is_err());
    }
}
