//! What can be typed about webhooks: endpoints, and sending again what they missed.

use clap::{Args as ClapArgs, Subcommand};

use super::{id, operating::rate};

#[derive(Debug, Subcommand)]
pub enum EndpointChange {
    /// Tell an address of whatever happens in any build from now on; prints its secret once
    Add(EndpointSettings),
    /// Show an endpoint and how it fares
    Show {
        /// The endpoint, such as end_01J8...
        #[arg(value_parser = id)]
        endpoint: String,
    },
    /// Give an endpoint other settings, all of them; its secrets stay
    Change {
        /// The endpoint
        #[arg(value_parser = id)]
        endpoint: String,
        #[command(flatten)]
        settings: EndpointSettings,
    },
    /// Take an endpoint away; what waits for it is given up
    Remove {
        /// The endpoint
        #[arg(value_parser = id)]
        endpoint: String,
    },
    /// Give an endpoint a new secret, beside which the old one goes on signing for a while
    Rotate {
        /// The endpoint
        #[arg(value_parser = id)]
        endpoint: String,
        /// The new secret [default: one is made]
        #[arg(long, env = "WEBHOOK_SECRET", hide_env_values = true)]
        secret: Option<String>,
        /// How long the old one goes on signing [default: a day]
        #[arg(long, value_name = "SECONDS")]
        grace_secs: Option<u64>,
    },
    /// Send an endpoint a test
    Test {
        /// The endpoint
        #[arg(value_parser = id)]
        endpoint: String,
    },
    /// Let an endpoint be told again
    Enable {
        /// The endpoint
        #[arg(value_parser = id)]
        endpoint: String,
    },
    /// Keep everything from an endpoint until it is enabled
    Disable {
        /// The endpoint
        #[arg(value_parser = id)]
        endpoint: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Send an endpoint what it missed since an instant: what was given up, or never told to it
    Recover {
        /// The endpoint
        #[arg(value_parser = id)]
        endpoint: String,
        /// From when on, such as 2026-11-21T12:00:00Z
        #[arg(long, value_name = "INSTANT")]
        since: String,
        /// Until when [default: now]
        #[arg(long, value_name = "INSTANT")]
        until: Option<String>,
        #[command(flatten)]
        how: Replaying,
    },
}

#[derive(Debug, ClapArgs)]
pub struct EndpointSettings {
    /// Where to tell of the events
    pub url: String,
    /// The secret that signs them, for a new endpoint [default: one is made]
    #[arg(long, env = "WEBHOOK_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// A kind of event, or a pattern such as task_*; may be given several times [default: all]
    #[arg(long = "event", value_name = "PATTERN")]
    pub events: Vec<String>,
    /// A header of its own; may be given several times
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// How many in how many seconds, such as 20/1, or unlimited [default: 10/1]
    #[arg(long, value_name = "COUNT/SECONDS", value_parser = endpoint_rate)]
    pub rate: Option<EndpointRate>,
    /// The most that may be on their way at once
    #[arg(long, value_name = "COUNT")]
    pub concurrency: Option<u32>,
    /// required, standard, or the seconds before each retry, such as 1,5,60 [default: required]
    #[arg(long, value_name = "PROFILE")]
    pub retry: Option<String>,
    /// Let events of one build come in any order
    #[arg(long)]
    pub unordered: bool,
    /// Words for people
    #[arg(long, default_value = "")]
    pub description: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EndpointRate {
    Unlimited,
    Of(u32, f64),
}

#[derive(Debug, Subcommand)]
pub enum ReplayChange {
    /// Send all deliveries again that are final and meet a filter, however many
    Begin {
        /// Only those to this endpoint
        #[arg(long, value_parser = id)]
        endpoint: Option<String>,
        /// Only those of this build
        #[arg(long, value_parser = id)]
        build: Option<String>,
        /// Only those of this kind of event
        #[arg(long = "type", value_name = "KIND")]
        kind: Option<String>,
        /// Only those in this state: exhausted or delivered [default: exhausted]
        #[arg(long)]
        state: Option<String>,
        /// Only those whose newest failure has this code
        #[arg(long)]
        code: Option<String>,
        /// Only those made from then on, such as 2026-11-21T12:00:00Z
        #[arg(long, value_name = "INSTANT")]
        since: Option<String>,
        /// Only those made before then
        #[arg(long, value_name = "INSTANT")]
        until: Option<String>,
        #[command(flatten)]
        how: Replaying,
    },
    /// Show how far a replay is
    Show {
        /// The replay, such as rpl_01J8...
        #[arg(value_parser = id)]
        replay: String,
    },
    /// Let a replay wait
    Pause {
        /// The replay
        #[arg(value_parser = id)]
        replay: String,
    },
    /// Let it go on
    Resume {
        /// The replay
        #[arg(value_parser = id)]
        replay: String,
    },
    /// Stop a replay; what it has sent is on its way
    Cancel {
        /// The replay
        #[arg(value_parser = id)]
        replay: String,
    },
}

#[derive(Debug, ClapArgs)]
pub struct Replaying {
    /// Only count
    #[arg(long)]
    pub dry_run: bool,
    /// Follow it until it ends
    #[arg(long, short, conflicts_with = "dry_run")]
    pub watch: bool,
    /// Why, for the audit
    #[arg(long)]
    pub reason: Option<String>,
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a header is written as NAME=VALUE".to_owned()),
    }
}

fn endpoint_rate(text: &str) -> Result<EndpointRate, String> {
    if text == "unlimited" {
        return Ok(EndpointRate::Unlimited);
    }
    rate(text).map(|(count, secs)| EndpointRate::Of(count, secs))
}
