//! What operators can type: limits, weights, pauses, listings of what failed, one verb for many.

use clap::{Args as ClapArgs, Subcommand};

use super::id;

#[derive(Debug, Subcommand)]
pub enum LimitChange {
    /// Make a limit, or replace the one of that name
    Set(LimitSet),
    /// Remove a limit; what waits there is let go
    Remove {
        /// The limit
        #[arg(value_parser = limit_name)]
        name: String,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, ClapArgs)]
pub struct LimitSet {
    /// What it is called; `plans`, `tasks` and `deliveries` are there from the start
    #[arg(value_parser = limit_name)]
    pub name: String,
    /// The queue it is about: plans, tasks or deliveries [default: all of them together]
    #[arg(long)]
    pub queue: Option<String>,
    /// What is counted apart: all, kind, tenant or key
    #[arg(long, value_name = "WORD", default_value = "all")]
    pub by: String,
    /// The one kind, tenant or key it is about [default: each has a limit of its own]
    #[arg(long)]
    pub value: Option<String>,
    /// The most that may run at once
    #[arg(long, value_name = "COUNT", required_unless_present = "rate")]
    pub concurrency: Option<u32>,
    /// How many may begin in how many seconds, such as 20/1
    #[arg(long, value_name = "COUNT/SECONDS", value_parser = rate)]
    pub rate: Option<(u32, f64)>,
    /// Why, for the audit
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum WeightChange {
    /// Give a tenant a share of every queue, beside the 1 of all others
    Set {
        /// The tenant
        tenant: String,
        /// 0.01 to 1000; 1 takes it back
        weight: f64,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, ClapArgs)]
pub struct Pausing {
    #[command(flatten)]
    pub what: Pausable,
    /// Why, for the audit
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub struct Pausable {
    /// The build
    #[arg(value_parser = id)]
    pub build: Option<String>,
    /// All builds of this tenant, with their deliveries
    #[arg(long)]
    pub tenant: Option<String>,
    /// This queue: plans, tasks or deliveries
    #[arg(long, value_parser = id)]
    pub queue: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub struct Audit {
    /// How many at most, 1 to 100
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
    /// Go on where the last page ended
    #[arg(long)]
    pub cursor: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub struct Failed {
    /// Only of this kind: build, task or delivery
    #[arg(long)]
    pub kind: Option<String>,
    /// Only of this code, such as quarantined or timed_out
    #[arg(long)]
    pub code: Option<String>,
    /// Only of this tenant
    #[arg(long)]
    pub tenant: Option<String>,
    /// Only what was given up at this instant or later, such as 2026-11-21T12:00:00Z
    #[arg(long, value_name = "INSTANT")]
    pub since: Option<String>,
    /// Only what was given up before this instant
    #[arg(long, value_name = "INSTANT")]
    pub until: Option<String>,
    /// How many at most, 1 to 100
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
    /// Go on where the last page ended
    #[arg(long)]
    pub cursor: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Bulk {
    /// Cancel builds
    Cancel(BuildsBulk),
    /// Run again what failed, was skipped or was cancelled of builds
    Retry(BuildsBulk),
    /// Let nothing of builds begin
    Pause(BuildsBulk),
    /// Let builds begin again
    Resume(BuildsBulk),
    /// Send deliveries once more
    Redeliver(DeliveriesBulk),
}

#[derive(Debug, ClapArgs)]
pub struct BuildsBulk {
    /// In this state; may be given several times [default: those in which it can be done]
    #[arg(long = "state", value_name = "STATE")]
    pub states: Vec<String>,
    /// Of this project
    #[arg(long)]
    pub project_id: Option<String>,
    /// That ended for this reason, such as tasks_failed
    #[arg(long, value_name = "CODE")]
    pub stop_code: Option<String>,
    /// Of this priority
    #[arg(long, value_name = "1-5")]
    pub priority: Option<u8>,
    #[command(flatten)]
    pub of: BulkOf,
}

#[derive(Debug, ClapArgs)]
pub struct DeliveriesBulk {
    /// In this state; may be given several times [default: exhausted]
    #[arg(long = "state", value_name = "STATE")]
    pub states: Vec<String>,
    /// Of this build
    #[arg(long)]
    pub build: Option<String>,
    /// Of events of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// That failed for this reason
    #[arg(long)]
    pub code: Option<String>,
    #[command(flatten)]
    pub of: BulkOf,
}

#[derive(Debug, ClapArgs)]
pub struct BulkOf {
    /// Made at this instant or later, such as 2026-11-21T12:00:00Z
    #[arg(long, value_name = "INSTANT")]
    pub created_since: Option<String>,
    /// Made before this instant
    #[arg(long, value_name = "INSTANT")]
    pub created_until: Option<String>,
    /// Only these; may be given several times
    #[arg(long = "id", value_name = "ID")]
    pub ids: Vec<String>,
    /// Only say how many there are, and which are first
    #[arg(long)]
    pub dry_run: bool,
    /// Why, for the audit
    #[arg(long)]
    pub reason: Option<String>,
}

/// The name of a limit, which becomes part of a path.
fn limit_name(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    // Dots alone would lead to another path.
    if text.bytes().all(is_plain) && text.bytes().any(|byte| byte != b'.') {
        return Ok(text.to_owned());
    }
    Err("a name has letters, digits, _, - and . only, such as each-tenant".to_owned())
}

/// So many in so many seconds.
pub(super) fn rate(text: &str) -> Result<(u32, f64), String> {
    let parts = text.split_once('/').unwrap_or((text, "1"));
    match (parts.0.trim().parse(), parts.1.trim().parse()) {
        (Ok(count), Ok(secs)) => Ok((count, secs)),
        _ => Err("a rate is a count and a number of seconds, such as 20/1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    #[test]
    fn a_limit_is_read_with_its_rate_and_never_leads_to_another_path() {
        let parse = |args: &[&str]| {
            let all = ["buildfleet", "limits", "set"].iter().chain(args);
            Args::try_parse_from(all).map(|args| args.command)
        };

        let read = parse(&["web", "--rate", "20/0.5"]).unwrap();
        let Command::Limits { change: Some(LimitChange::Set(set)) } = read else { panic!() };
        assert_eq!((set.name.as_str(), set.rate), ("web", Some((20, 0.5))));
        for bad in [
            ["..", "--concurrency=1"],
            ["a/b", "--concurrency=1"],
            ["web", "--rate=often"],
            ["web", "--by=all"],
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_thing_is_paused_at_a_time() {
        let parse = |args: &[&str]| {
            Args::try_parse_from(["buildfleet", "pause"].iter().chain(args)).is_ok()
        };

        assert!(
            parse(&["bld_1"]) && parse(&["--tenant", "acme inc"]) && parse(&["--queue", "tasks"])
        );
        assert!(!parse(&[]) && !parse(&["bld_1", "--tenant", "acme"]) && !parse(&["../x"]));
    }
}
