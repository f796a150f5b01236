//! What a fleet costs that has nothing to do.

use std::{fs, time::Duration};

use anyhow::Context;

use super::ground::Ground;

/// For what a program does at its start.
const SETTLING: Duration = Duration::from_secs(5);
/// Of the kernel's accounts of time; it has been the same on every Linux for long.
const TICKS_A_SECOND: f64 = 100.0;

/// What one program took.
pub struct Cost {
    pub program: &'static str,
    /// Hundredths of one processor.
    pub cpu_percent: f64,
    pub resident_kib: u64,
}

/// Starts one of each program, and looks at what they take in so many seconds.
pub async fn run(settings: &str, secs: u64) -> anyhow::Result<Vec<Cost>> {
    let ground = Ground::new(settings, 15).await?;
    let names = ["buildfleet-api", "plan-worker", "task-worker", "webhook-dispatcher"];
    let programs = names.map(|name| (name, ground.start(name)));
    tokio::time::sleep(SETTLING).await;
    let before: Vec<_> =
        programs.iter().map(|(_, program)| ticks(program.id())).collect::<Result<_, _>>()?;
    tokio::time::sleep(Duration::from_secs(secs)).await;
    programs
        .iter()
        .zip(before)
        .map(|((name, program), before)| {
            let used = (ticks(program.id())? - before) as f64 / TICKS_A_SECOND;
            let (program, cpu_percent) = (program.id(), used / secs as f64 * 100.0);
            Ok(Cost { program: name, cpu_percent, resident_kib: resident_kib(program)? })
        })
        .collect()
}

/// The time that a process was at work, of itself and of the kernel for it.
fn ticks(process: u32) -> anyhow::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name may hold anything; the fields after it do not.
    let (_, fields) = stat.rsplit_once(')').context("a name in brackets")?;
    let mut times = fields.split_whitespace().skip(11);
    let mut next = || times.next().context("a time")?.parse::<u64>().context("a number");
    Ok(next()? + next()?)
}

fn resident_kib(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("a resident size")?;
    kib.parse().context("a number")
}
