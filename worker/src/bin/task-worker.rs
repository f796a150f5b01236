//! Runs the tasks of builds. Any number of replicas.

use std::{process::ExitCode, sync::Arc};

use buildfleet::{config::Reader, program, vault::Vault};
use worker::{
    config::TaskConfig,
    resealing,
    sweep::{self, Sweep},
    task::runner::template::Template,
    upkeep,
};

#[tokio::main]
async fn main() -> ExitCode {
    let read = |reader: &mut Reader<'_>| {
        (TaskConfig::read(reader), upkeep::Config::read(reader), Vault::read(reader))
    };
    program::run("task-worker", read, async |member, (config, upkeep, vault)| {
        tokio::join!(
            config.serve(&member, Arc::new(Template)),
            sweep::run(Sweep::FLEET, &member),
            upkeep::run(upkeep, &member),
            resealing::run(&vault, &member),
        );
        Ok(())
    })
    .await
}
