//! How long one brief takes on the embedded default, from POST to `build_completed`, and how much
//! of it is the engine's own: everything but drafting the plan and rendering the files.
//!
//! The fleet is a `buildfleet dev` of this program's own, on a fresh folder; warm means after five
//! builds that are not counted. Times are those of the store: from the build's `created_at` to the
//! `timestamp` of its last event.

use std::{
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use benches::Bench;
use buildfleet::domain::brief::Brief;
use clap::Parser;
use serde_json::Value;
use worker::{
    generate::{self, spec::Spec},
    plan::planner::by_rules,
};

#[derive(Debug, Parser)]
struct Args {
    /// How many builds are counted
    #[arg(long, default_value_t = 20)]
    builds: usize,
    #[arg(
        default_value = "Build a REST API for managing a book library with authors, books and loans"
    )]
    prompt: String,
}

/// A fleet that ends with this program.
struct Dev(Child);

impl Drop for Dev {
    fn drop(&mut self) {
        // It holds nothing that anybody wants to keep.
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let bench = Bench::new()?;
    let _dev = start(&bench)?;
    let mut took: Vec<f64> = (0..args.builds + 5)
        .map(|_| build(&bench, &args.prompt))
        .collect::<anyhow::Result<Vec<_>>>()?
        .split_off(5);
    let (work, tasks) = work(&args.prompt)?;
    took.sort_by(f64::total_cmp);
    let median = took[took.len() / 2];
    println!("{} builds of {tasks} tasks, one after the other:", took.len());
    println!(
        "  POST to build_completed  median {median:.1} ms, from {:.1} to {:.1} ms",
        took[0],
        took[took.len() - 1]
    );
    println!("  drafting and rendering   {work:.1} ms when done alone, on one core");
    println!(
        "  the engine's own         {:.1} ms, {:.2} ms a task",
        median - work,
        (median - work) / tasks as f64
    );
    Ok(())
}

/// Starts the fleet and waits until it answers.
fn start(bench: &Bench) -> anyhow::Result<Dev> {
    let dev = bench
        .buildfleet()
        .args(["dev", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let dev = Dev(dev);
    let until = Instant::now() + Duration::from_secs(30);
    while Instant::now() < until {
        if bench.buildfleet().arg("list").output()?.status.success() {
            return Ok(dev);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("the fleet did not answer within 30 s")
}

/// Builds once; answers with milliseconds.
fn build(bench: &Bench, prompt: &str) -> anyhow::Result<f64> {
    let output = bench.buildfleet().args(["submit", "--watch", "--json", "--", prompt]).output()?;
    if !output.status.success() {
        bail!("a build did not complete: {}", benches::last_line(&output.stderr));
    }
    let build: Value = serde_json::from_slice(&output.stdout)?;
    let at = |name: &str| {
        let text = build[name].as_str().with_context(|| format!("the build has no {name}"))?;
        text.parse::<jiff::Timestamp>().context("an instant")
    };
    Ok((at("finished_at")?.as_millisecond() - at("created_at")?.as_millisecond()) as f64)
}

/// What drafting and rendering take when nothing else is done: the median of 20, in milliseconds,
/// and how many tasks there are.
fn work(prompt: &str) -> anyhow::Result<(f64, usize)> {
    let mut took = Vec::new();
    let mut tasks = 0;
    for _ in 0..20 {
        let begun = Instant::now();
        let draft = by_rules::draft(&Brief::of(prompt))
            .map_err(|failure| anyhow::anyhow!("{}", failure.reason))?;
        let spec: Spec = serde_json::from_value(draft.spec)?;
        for task in &draft.tasks {
            generate::render(&spec, &task.key)?;
        }
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
        tasks = draft.tasks.len();
    }
    took.sort_by(f64::total_cmp);
    Ok((took[took.len() / 2], tasks))
}
