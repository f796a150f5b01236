//! Plans builds. Any number of replicas.

use std::{process::ExitCode, sync::Arc};

use buildfleet::{config::Reader, program};
use worker::{
    config::PlanConfig,
    plan::planner::by_rules::Rules,
    sweep::{self, Sweep},
    upkeep,
};

#[tokio::main]
async fn main() -> ExitCode {
    let read = |reader: &mut Reader<'_>| (PlanConfig::read(reader), upkeep::Config::read(reader));
    program::run("plan-worker", read, async |member, (config, upkeep)| {
        tokio::join!(
            config.serve(&member, Arc::new(Rules)),
            sweep::run(Sweep::FLEET, &member),
            upkeep::run(upkeep, &member),
        );
        Ok(())
    })
    .await
}
