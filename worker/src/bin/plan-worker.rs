//! Plans builds. Any number of replicas.

use std::{process::ExitCode, sync::Arc};

use buildfleet::program;
use worker::{
    config::PlanConfig,
    plan::planner::by_rules::Rules,
    sweep::{self, Sweep},
};

#[tokio::main]
async fn main() -> ExitCode {
    program::run("plan-worker", PlanConfig::read, async |member, config| {
        tokio::join!(config.serve(&member, Arc::new(Rules)), sweep::run(Sweep::FLEET, &member));
        Ok(())
    })
    .await
}
