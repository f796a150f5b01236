//! Delivers webhooks. Any number of replicas.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    webhook_dispatcher::program().await
}
