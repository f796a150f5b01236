//! The HTTP API of a fleet. Any number of replicas.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    api::program().await
}
