//! Plans builds. Any number of replicas.

use std::{process::ExitCode, sync::Arc};

use worker::{config::PlanConfig, plan::planner::by_rules::Rules, program};

#[tokio::main]
async fn main() -> ExitCode {
    program::run("plan-worker", PlanConfig::read, async |member, config| {
        config.serve(&member, Arc::new(Rules)).await;
    })
    .await
}
