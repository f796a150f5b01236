//! The `buildfleet` command: a whole fleet in one process, and the client of any fleet.
//!
//! `args.rs` is what can be typed; `commands` holds one file for each thing that is done. What goes
//! to standard output is the answer and nothing else; progress and errors go to standard error.

pub mod args;
pub mod answer;
pub mod address;
pub mod client;
pub mod commands;
pub mod dev;
pub mod exit;
pub mod progress;
pub mod table;

use std::process::ExitCode;

use clap::Parser as _;

/// Reads the arguments, does what they say, and tells the shell how it went.
pub async fn main() -> ExitCode {
    let args = args::Args::parse();
    // Fails if a provider is in place already, which serves as well.
    let _in_place = rustls::crypto::ring::default_provider().install_default();
    match Box::pin(commands::run(args)).await {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("buildfleet: {error}");
            error.exit().into()
        }
    }
}
