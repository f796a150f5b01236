//! Settings: read once, checked whole, then passed by value.
//!
//! The only file that reads the environment. Every program builds its own `Config` with a `Reader`
//! and refuses to start while there is a fault, naming all of them at once. `KNOBS` lists every
//! setting there is; `deploy/example.env` explains the same list, and a test compares the two.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    net::SocketAddr,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use secrecy::SecretString;
use url::Url;

use crate::{domain::address::Allowed, queue};

/// A setting that some program reads.
#[derive(Debug, Clone, Copy)]
pub struct Knob {
    pub name: &'static str,
    /// As one would write it; empty for none.
    pub default: &'static str,
}

const fn knob(name: &'static str, default: &'static str) -> Knob {
    Knob { name, default }
}

/// Every setting of every program.
pub const KNOBS: &[Knob] = &[
    knob("BUILDFLEET_LISTEN", "127.0.0.1:8000"),
    knob("BUILDFLEET_HEALTH_LISTEN", ""),
    knob("DATABASE_URL", ""),
    knob("REDIS_URL", ""),
    knob("BUILDFLEET_DATA", ".buildfleet"),
    knob("BUILDFLEET_API_KEY", ""),
    knob("BUILDFLEET_URL", "http://127.0.0.1:8000"),
    knob("ENVIRONMENT", "development"),
    knob("CORS_ORIGINS", ""),
    knob("REQUIRE_PLAN_APPROVAL", "false"),
    knob("BUILDFLEET_APPROVAL_SECS", "300"),
    knob("ALLOW_LINEAR_FALLBACK", "true"),
    knob("WEBHOOK_URL", ""),
    knob("WEBHOOK_SECRET", ""),
    knob("BUILDFLEET_MASTER_KEYS", ""),
    knob("BUILDFLEET_WEBHOOK_ALLOW", ""),
    knob("BUILDFLEET_WEBHOOK_DNS", ""),
    knob("BUILDFLEET_WEBHOOK_TIMEOUT_SECS", "30"),
    knob("BUILDFLEET_PLAN_SLOTS", "2"),
    knob("BUILDFLEET_TASK_SLOTS", "5"),
    knob("BUILDFLEET_DELIVERY_SLOTS", "10"),
    knob("BUILDFLEET_PLAN_TIMEOUT_SECS", "60"),
    knob("BUILDFLEET_BUILD_TIMEOUT_SECS", "900"),
    knob("BUILDFLEET_TASK_TIMEOUT_SECS", "60"),
    knob("BUILDFLEET_LEASE_SECS", "10"),
    knob("BUILDFLEET_CACHE_SECS", "3600"),
    knob("BUILDFLEET_CACHE_ENTRIES_MAX", "100000"),
    knob("BUILDFLEET_CACHE_ACROSS_TENANTS", "false"),
    knob("BUILDFLEET_KEEP_DAYS", "0"),
    knob("BUILDFLEET_OPEN_BUILDS_MAX", "100000"),
    knob("BUILDFLEET_OPEN_BUILDS_PER_TENANT_MAX", "50000"),
    knob("BUILDFLEET_BRIEFS_MAX_MB", "1024"),
    knob("BUILDFLEET_DATABASE_MAX_MB", "0"),
    knob("BUILDFLEET_DISK_FREE_MIN_MB", "256"),
    knob("BUILDFLEET_LOG", "info"),
    knob("BUILDFLEET_LOG_FORMAT", "text"),
];

/// The environment as it was when it was read.
#[derive(Debug, Clone, Default)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    /// The environment of this process. Values that are not Unicode are passed over.
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        )
    }

    /// An environment made by hand.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The same with a value put in, unless there is one already.
    #[must_use]
    pub fn or(mut self, name: &str, value: impl Into<String>) -> Self {
        if self.raw(name).is_none() {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    /// The value of a variable; one that is empty counts as absent.
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

/// All that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<String>);

impl Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings are not as they must be:")?;
        for fault in &self.0 {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

/// Reads settings and gathers what is wrong with them.
#[derive(Debug)]
pub struct Reader<'a> {
    env: &'a Env,
    faults: Vec<String>,
}

impl<'a> Reader<'a> {
    pub fn new(env: &'a Env) -> Self {
        Self { env, faults: Vec::new() }
    }

    /// Adds a fault that is not about one value alone.
    pub fn fault(&mut self, name: &str, wanted: impl Display) {
        let fault = format!("{name}: {wanted}");
        // `buildfleet dev` reads for several programs, some of which share a setting.
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// The settings, if nothing was wrong.
    pub fn finish<T>(self, config: T) -> Result<T, Faults> {
        if self.faults.is_empty() { Ok(config) } else { Err(Faults(self.faults)) }
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        let knob = KNOBS.iter().find(|knob| knob.name == name);
        debug_assert!(knob.is_some(), "{name} is read but not in KNOBS");
        self.env.raw(name).or(knob.map(|knob| knob.default).filter(|default| !default.is_empty()))
    }

    fn parsed<T: FromStr>(&mut self, name: &str, wanted: &str) -> Option<T> {
        let text = self.value(name)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.fault(name, format_args!("must be {wanted}, not {text:?}"));
        }
        value
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.value(name).map(str::to_owned)
    }

    pub fn secret(&self, name: &str) -> Option<SecretString> {
        self.value(name).map(SecretString::from)
    }

    /// Values with commas between them.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.value(name)
            .into_iter()
            .flat_map(|text| text.split(','))
            .map(|item| item.trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect()
    }

    pub fn flag(&mut self, name: &str) -> bool {
        match self.value(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "0" | "no" | "off") => false,
            Some("true" | "1" | "yes" | "on") => true,
            Some(other) => {
                self.fault(name, format_args!("must be true or false, not {other:?}"));
                false
            }
        }
    }

    /// A whole number within bounds.
    pub fn number(&mut self, name: &str, min: u32, max: u32) -> u32 {
        let wanted = format!("a whole number between {min} and {max}");
        match self.parsed::<u32>(name, &wanted) {
            Some(number) if (min..=max).contains(&number) => number,
            Some(number) => {
                self.fault(name, format_args!("must be {wanted}, not {number}"));
                min
            }
            None => min,
        }
    }

    /// A number of seconds within bounds.
    pub fn secs(&mut self, name: &str, min: u32, max: u32) -> Duration {
        Duration::from_secs(self.number(name, min, max).into())
    }

    /// How long a lease lasts. Shorter finds the dead sooner, but a store that is slow for as long
    /// loses the living.
    pub fn lease(&mut self) -> Duration {
        self.secs("BUILDFLEET_LEASE_SECS", 2, 3600)
    }

    pub fn address(&mut self, name: &str) -> SocketAddr {
        self.parsed(name, "an address and port such as 127.0.0.1:8000")
            .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8000)))
    }

    /// An address, if one is given.
    pub fn address_if_any(&mut self, name: &str) -> Option<SocketAddr> {
        self.parsed(name, "an address and port such as 127.0.0.1:8001, or empty")
    }

    /// Addresses with commas between them; none by default.
    pub fn addresses(&mut self, name: &str) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for text in self.list(name) {
            match text.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => self.fault(
                    name,
                    format_args!("must list addresses and ports such as 10.0.0.2:53, not {text:?}"),
                ),
            }
        }
        addresses
    }

    pub fn url(&mut self, name: &str, schemes: &[&str]) -> Option<Url> {
        let wanted = format!("a URL that begins with {}", schemes.join(": or ") + ":");
        let url: Url = self.parsed(name, &wanted)?;
        if schemes.contains(&url.scheme()) {
            return Some(url);
        }
        self.fault(name, format_args!("must be {wanted}, not {}:", url.scheme()));
        None
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        self.value(name).map_or_else(PathBuf::new, PathBuf::from)
    }

    /// What webhooks may reach beside the public internet.
    pub fn webhook_targets(&mut self) -> Allowed {
        let name = "BUILDFLEET_WEBHOOK_ALLOW";
        Allowed::read(&self.list(name)).unwrap_or_else(|unknown| {
            self.fault(
                name,
                format_args!(
                    "must list networks, addresses, host names or the word loopback, with commas \
                     between them; {} is none of these",
                    unknown.join(", ")
                ),
            );
            Allowed::default()
        })
    }

    /// One of a few words.
    pub fn choice(&mut self, name: &str, words: &[&'static str]) -> &'static str {
        let text = self.value(name).unwrap_or_default();
        match words.iter().find(|word| **word == text) {
            Some(word) => word,
            None => {
                self.fault(name, format_args!("must be one of {}, not {text:?}", words.join(", ")));
                words.first().copied().unwrap_or_default()
            }
        }
    }
}

/// Where the record is and how work is woken: what every program of a fleet needs.
#[derive(Debug, Clone)]
pub struct Backends {
    pub database_url: SecretString,
    /// `None`: the memory of this process.
    pub redis_url: Option<SecretString>,
}

impl Backends {
    /// For a program of a fleet: both must be there, since memory is shared with nobody.
    pub fn of_fleet(reader: &mut Reader<'_>) -> Self {
        match reader.value("DATABASE_URL") {
            None => reader.fault(
                "DATABASE_URL",
                "must name the fleet's Postgres, such as postgres://user:password@host/buildfleet",
            ),
            Some(url) if !url.starts_with("postgres:") && !url.starts_with("postgresql:") => reader
                .fault(
                    "DATABASE_URL",
                    "must begin with postgres: in a fleet; SQLite is for `buildfleet dev` alone",
                ),
            Some(_) => {}
        }
        match reader.value("REDIS_URL") {
            None => reader.fault(
                "REDIS_URL",
                "must name the fleet's Redis, such as redis://host:6379; only `buildfleet dev` runs \
                 without",
            ),
            Some(url) => {
                if let Err(reason) = queue::check_url(url) {
                    reader.fault("REDIS_URL", reason);
                }
            }
        }
        Self {
            database_url: reader.secret("DATABASE_URL").unwrap_or_default(),
            redis_url: reader.secret("REDIS_URL"),
        }
    }
}

/// How a program tells what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// In the syntax of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    pub json: bool,
}

impl Logging {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            filter: reader.text("BUILDFLEET_LOG").unwrap_or_default(),
            json: reader.choice("BUILDFLEET_LOG_FORMAT", &["text", "json"]) == "json",
        }
    }
}

/// What to call this machine in the list of workers.
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_with_what_would_be_right() {
        let env = Env::of([
            ("BUILDFLEET_LISTEN", "here"),
            ("BUILDFLEET_TASK_SLOTS", "0"),
            ("BUILDFLEET_LOG_FORMAT", "xml"),
            ("REQUIRE_PLAN_APPROVAL", "perhaps"),
            ("DATABASE_URL", "sqlite:fleet.db"),
        ]);
        let mut reader = Reader::new(&env);

        reader.address("BUILDFLEET_LISTEN");
        reader.number("BUILDFLEET_TASK_SLOTS", 1, 1000);
        // Two programs in one process may read the same.
        reader.number("BUILDFLEET_TASK_SLOTS", 1, 1000);
        Logging::read(&mut reader);
        reader.flag("REQUIRE_PLAN_APPROVAL");
        Backends::of_fleet(&mut reader);
        let Err(Faults(faults)) = reader.finish(()) else { panic!("accepted") };

        let names: Vec<_> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        assert_eq!(
            names,
            [
                "BUILDFLEET_LISTEN",
                "BUILDFLEET_TASK_SLOTS",
                "BUILDFLEET_LOG_FORMAT",
                "REQUIRE_PLAN_APPROVAL",
                "DATABASE_URL",
                "REDIS_URL"
            ]
        );
    }

    #[test]
    fn a_redis_of_no_known_form_is_refused_with_all_forms() {
        let env = Env::of([
            ("DATABASE_URL", "postgres://here/buildfleet"),
            ("REDIS_URL", "http://me:hush@here"),
        ]);
        let mut reader = Reader::new(&env);

        Backends::of_fleet(&mut reader);
        let Err(Faults(faults)) = reader.finish(()) else { panic!("accepted") };

        assert_eq!(faults.len(), 1, "{faults:?}");
        for form in ["rediss:", "redis+unix:", "redis+cluster:", "redis+sentinel:"] {
            assert!(faults[0].contains(form), "{faults:?}");
        }
        assert!(!faults[0].contains("hush"), "{faults:?}");
    }

    #[test]
    fn an_empty_variable_counts_as_absent() {
        let env = Env::of([("BUILDFLEET_LOG_FORMAT", " ")]);
        let mut reader = Reader::new(&env);

        let logging = Logging::read(&mut reader);

        assert_eq!(logging, Logging { filter: "info".to_owned(), json: false });
        assert!(reader.finish(()).is_ok());
    }
}
