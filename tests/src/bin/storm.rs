//! Treats a fleet of real processes badly and says what came of it, by the record.
//!
//! `storm chaos [--tasks 100000] [--seed N] [--secs 3600] [--lease 15] [--workers 5]`,
//! `storm rolling [--rounds 2]`, `storm cancel [--times 100]`, `storm idle [--secs 30]`.
//! The programs must be built: `cargo build --workspace --bins`. Exit code 1: a rule was broken.

use std::{collections::HashMap, process::ExitCode};

use anyhow::{Context, bail};
use tests::storm::{
    cancel,
    chaos::{self, DURABLE, Wanted},
    idle, rolling,
};

/// The numbers that were given by name.
struct Options(HashMap<String, u64>);

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut given = HashMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").with_context(|| format!("{word}: --name number"))?;
            let value = words.next().with_context(|| format!("{word} wants a number"))?;
            given.insert(name.to_owned(), value.parse().with_context(|| word.clone())?);
        }
        Ok(Self(given))
    }

    fn take(&mut self, name: &str, otherwise: u64) -> u64 {
        self.0.remove(name).unwrap_or(otherwise)
    }

    fn none_left(&self) -> anyhow::Result<()> {
        match self.0.keys().next() {
            Some(name) => bail!("there is no --{name} here"),
            None => Ok(()),
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<ExitCode> {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let mut options = Options::read(words)?;
    let well = match &*command {
        "chaos" => chaos(options).await?,
        "rolling" => {
            let rounds = options.take("rounds", 2);
            options.none_left()?;
            rolling(usize::try_from(rounds)?).await?
        }
        "cancel" => {
            let times = options.take("times", 100);
            options.none_left()?;
            let report = cancel::run(DURABLE, usize::try_from(times)?).await?;
            println!("cancel to the runner's token: {}", report.told);
            println!("cancel to the API's answer:   {}", report.answered);
            true
        }
        "idle" => {
            let secs = options.take("secs", 30);
            options.none_left()?;
            for cost in idle::run(DURABLE, secs).await? {
                let (name, cpu, kib) = (cost.program, cost.cpu_percent, cost.resident_kib);
                println!("{name:>18}: {cpu:.2} % of a CPU over {secs} s, {} MiB", kib / 1024);
            }
            true
        }
        _ => bail!("storm chaos | rolling | cancel | idle"),
    };
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn chaos(mut options: Options) -> anyhow::Result<bool> {
    let wanted = Wanted {
        tasks: usize::try_from(options.take("tasks", 100_000))?,
        seed: options.take("seed", rand::random::<u32>().into()),
        secs: options.take("secs", 3600),
        lease: options.take("lease", 15),
        workers: usize::try_from(options.take("workers", 5))?,
        settings: DURABLE,
    };
    options.none_left()?;
    println!("--seed {} draws the same builds and faults again", wanted.seed);
    let report = chaos::run(wanted).await?;
    print!("{report}");
    Ok(report.broken().is_empty())
}

async fn rolling(rounds: usize) -> anyhow::Result<bool> {
    let report = rolling::run(DURABLE, rounds).await?;
    println!(
        "{} restarts, {} tasks at work when task workers were told, {} builds in {:.0} s",
        report.restarts,
        report.met,
        report.builds,
        report.took.as_secs_f64()
    );
    for (of, state, count) in &report.attempts {
        println!("attempts: {of} {state}: {count}");
    }
    for finding in &report.findings {
        println!("{finding}");
    }
    Ok(report.bad() == 0 && report.findings.iter().all(|finding| finding.broken == 0))
}
