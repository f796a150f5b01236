//! How a program tells what it does: lines for people, or JSON for machines, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::Logging;

/// The filter could not be read. Printed once, at start.
#[derive(Debug, thiserror::Error)]
#[error("BUILDFLEET_LOG: must be a level or filters such as info,worker=debug")]
pub struct BadFilter(#[from] tracing_subscriber::filter::ParseError);

/// Sends the program's spans and lines to standard error. Called once, at start; a second call does
/// nothing, so that tests may call it freely.
pub fn init(logging: &Logging) -> Result<(), BadFilter> {
    let filter = EnvFilter::builder().parse(&logging.filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // An error here means that a subscriber is in place already.
    let _in_place = if logging.json {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
        registry.with(lines.compact()).try_init()
    };
    Ok(())
}
