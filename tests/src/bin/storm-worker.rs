//! A task worker as it is run, with a runner that takes as long as a task's input says and makes
//! nothing.
//!
//! The record knows it as `storm-worker-<process id>`, so that a lease names the process that had
//! it. `{"ms": 5}` takes five milliseconds; `{"heed": true}` goes on until it is told to end, and
//! says when it began and when it was told: `begun <build> <microseconds since 1970>`.

use std::{process::ExitCode, sync::Arc, time::Duration};

use async_trait::async_trait;
use buildfleet::{
    domain::attempt::{Failure, Output},
    program,
    store::TaskClaim,
};
use tests::storm::clock;
use tokio_util::sync::CancellationToken;
use worker::{
    config::TaskConfig,
    sweep::{self, Sweep},
    task::runner::Runner,
};

struct Idler;

#[async_trait]
impl Runner for Idler {
    async fn run(&self, claim: &TaskClaim, end: &CancellationToken) -> Result<Output, Failure> {
        if claim.input["heed"] == true {
            println!("begun {} {}", claim.build, clock::micros());
            end.cancelled().await;
            println!("told {} {}", claim.build, clock::micros());
            return Err(Failure::permanent("told_to_end", "it was told to end"));
        }
        let ms = claim.input["ms"].as_u64().unwrap_or(0);
        if 0 < ms {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        Ok(Output::default())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    // Kept until the process ends, as any other name of a program.
    let name: &'static str = format!("storm-worker-{}", std::process::id()).leak();
    program::run(name, TaskConfig::read, async |member, config| {
        tokio::join!(config.serve(&member, Arc::new(Idler)), sweep::run(Sweep::FLEET, &member));
        Ok(())
    })
    .await
}
