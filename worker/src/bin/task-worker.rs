//! Runs the tasks of builds. Any number of replicas.

use std::{process::ExitCode, sync::Arc};

use worker::{config::TaskConfig, program, task::runner::template::Template};

#[tokio::main]
async fn main() -> ExitCode {
    program::run("task-worker", TaskConfig::read, async |member, config| {
        config.serve(&member, Arc::new(Template)).await;
    })
    .await
}
