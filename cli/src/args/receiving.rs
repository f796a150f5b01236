//! What can be typed about webhooks on this machine: receiving, signing, verifying.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args as ClapArgs, ValueEnum};

/// The keys, newest first.
#[derive(Debug, ClapArgs)]
pub struct Keys {
    /// A secret: whsec_..., whsk_... or plain text; again for each further key, newest first
    #[arg(
        long = "secret",
        value_name = "SECRET",
        env = "WEBHOOK_SECRET",
        hide_env_values = true,
        required = true
    )]
    pub secrets: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub struct Listen {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub keys: Keys,
    /// Believe webhooks of any time; else what is five minutes off is refused
    #[arg(long)]
    pub any_time: bool,
    /// How much of each webhook is shown
    #[arg(long, value_enum, default_value_t = Detail::Line)]
    pub detail: Detail,
    /// End after so many webhooks
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    #[command(flatten)]
    pub manners: Manners,
}

/// How to treat the sender, to see what the fleet does about it.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Misbehaving")]
pub struct Manners {
    /// Answer with this status; of several with commas between them, the last one stays
    #[arg(long, value_name = "STATUS", value_delimiter = ',', default_values_t = [204])]
    pub status: Vec<u16>,
    /// Put a header into each answer, such as `Retry-After: 20` or `webhook-delivery: disable`
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Wait so long before each answer
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    pub delay: f64,
    /// Answer with a body that never ends, a byte each so many seconds
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "1",
        conflicts_with = "huge"
    )]
    pub drip: Option<f64>,
    /// Answer with a body of so many bytes
    #[arg(long, value_name = "BYTES", num_args = 0..=1, default_missing_value = "2147483648")]
    pub huge: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Detail {
    /// One line each
    Line,
    /// The whole body
    Body,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
To send what was signed: buildfleet sign body.json | curl -H @- --data-binary @body.json URL")]
pub struct Sign {
    #[command(flatten)]
    pub keys: Keys,
    /// The id of the event
    #[arg(long, value_name = "ID", default_value = "evt_test")]
    pub id: String,
    /// When it is signed, in seconds since 1970 [default: now]
    #[arg(long, value_name = "SECONDS")]
    pub timestamp: Option<i64>,
    /// The body; - is the standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub body: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct Verify {
    /// As for `sign`; whpk_... verifies too
    #[command(flatten)]
    pub keys: Keys,
    /// A header as it came, such as `webhook-id: evt_1`
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// A file of headers, one a line, as `sign` prints them
    #[arg(long = "headers", value_name = "FILE")]
    pub headers_file: Option<PathBuf>,
    /// Believe any time; else what is five minutes off is refused
    #[arg(long)]
    pub any_time: bool,
    /// The body, byte for byte; - is the standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub body: PathBuf,
}
