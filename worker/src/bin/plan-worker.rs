//! Plans builds. Any number of replicas.

use std::{process::ExitCode, sync::Arc};

use buildfleet::{config::Reader, program, vault::Vault};
use worker::{
    config::PlanConfig,
    plan::planner::by_rules::Rules,
    resealing,
    sweep::{self, Sweep},
    upkeep,
};

#[tokio::main]
async fn main() -> ExitCode {
    let read = |reader: &mut Reader<'_>| {
        (PlanConfig::read(reader), upkeep::Config::read(reader), Vault::read(reader))
    };
    program::run("plan-worker", read, async |member, (config, upkeep, vault)| {
        tokio::join!(
            config.serve(&member, Arc::new(Rules)),
            sweep::run(Sweep::FLEET, &member),
            upkeep::run(upkeep, &member),
            resealing::run(&vault, &member),
        );
        Ok(())
    })
    .await
}
