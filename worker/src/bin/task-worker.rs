//! Runs the tasks of builds. Any number of replicas.

use std::{process::ExitCode, sync::Arc};

use buildfleet::program;
use worker::{
    config::TaskConfig,
    sweep::{self, Sweep},
    task::runner::template::Template,
};

#[tokio::main]
async fn main() -> ExitCode {
    program::run("task-worker", TaskConfig::read, async |member, config| {
        tokio::join!(config.serve(&member, Arc::new(Template)), sweep::run(Sweep::FLEET, &member));
        Ok(())
    })
    .await
}
