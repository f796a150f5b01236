//! Treats a fleet of real processes badly and says what came of it, by the record.
//!
//! `storm chaos [--tasks 100000] [--seed N] [--secs 3600] [--lease 15] [--workers 5]`,
//! `storm rolling [--rounds 2]`, `storm cancel [--times 100]`, `storm idle [--secs 30]`.
//! Of webhooks: `storm neighbour [--secs 30] [--rounds 2]`, `storm precision [--count 200]`,
//! `storm pace [--rate 10] [--secs 60]`, `storm kills [--kills 1000] [--seed N]`,
//! `storm order [--builds 60]`, `storm recovery [--count 100000]`, `storm rotation [--times 9]`.
//! The first three of these take `--fsync 0`: without it, no pause of the disk is in what they say.
//! The programs must be built: `cargo build --workspace --bins`. Exit code 1: a rule was broken.

use std::{
    collections::{BTreeMap, HashMap},
    process::ExitCode,
};

use anyhow::{Context, bail};
use tests::storm::{
    cancel,
    chaos::{self, DURABLE, HASTY, Wanted},
    idle, rolling,
    spread::Spread,
    webhooks::{kills, neighbour, order, pace, precision, recovery, rotation},
};

const USAGE: &str = "\
storm chaos [--tasks N] [--seed N] [--secs N] [--lease N] [--workers N]
storm rolling [--rounds N] | cancel [--times N] | idle [--secs N]
storm neighbour [--secs N] [--rounds N] [--fsync 0|1]
storm precision [--count N] [--fsync 0|1] | pace [--rate N] [--secs N] [--fsync 0|1]
storm kills [--kills N] [--seed N] | order [--builds N]
storm recovery [--count N] | rotation [--times N]";

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

    fn settings(&mut self) -> &'static str {
        if self.take("fsync", 1) == 0 { HASTY } else { DURABLE }
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
    if command.is_empty() || command == "--help" {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut options = Options::read(words)?;
    let well = match command.as_str() {
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
        _ => webhooks(command.as_str(), options).await?,
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

/// What is shown of webhooks. Answers whether the rules hold that are no figures.
async fn webhooks(command: &str, mut options: Options) -> anyhow::Result<bool> {
    match command {
        "neighbour" => {
            let (secs, rounds) = (options.take("secs", 30), options.take("rounds", 2));
            let settings = options.settings();
            options.none_left()?;
            let mut all: BTreeMap<String, Vec<Spread>> = BTreeMap::new();
            for fared in neighbour::run(settings, secs.try_into()?, rounds.try_into()?).await? {
                let (beside, arrived, sent) =
                    (format!("{:?}", fared.beside), fared.arrived, fared.sent);
                let (took, got) = (fared.took, fared.neighbour_got);
                println!("{beside:>9}: {arrived} of {sent} arrived, {took}; it got {got}");
                all.entry(beside).or_default().push(took);
            }
            for (beside, rounds) in &all {
                println!("{beside:>9}, all rounds: {}", Spread::all(rounds));
            }
            Ok(true)
        }
        "precision" => {
            let count = options.take("count", 200);
            let settings = options.settings();
            options.none_left()?;
            let late = precision::run(settings, count.try_into()?).await?;
            println!("from due to arrived: {late}");
            Ok(true)
        }
        "kills" => {
            let (kills, seed) = (options.take("kills", 1000), options.take("seed", 1));
            options.none_left()?;
            let report = kills::run(DURABLE, kills.try_into()?, seed).await?;
            print!("{report}");
            Ok(report.is_well())
        }
        "pace" => {
            let (rate, secs) = (options.take("rate", 10), options.take("secs", 60));
            let settings = options.settings();
            options.none_left()?;
            let pace = pace::run(settings, rate.try_into()?, secs.try_into()?).await?;
            let pace::Report { sent, mean, most, fewest, at: (full, empty) } = pace;
            println!("{sent} sent, {mean:.2} a second; in any second {fewest} to {most}");
            println!("the fullest began {full:.1} s after the first, the emptiest {empty:.1} s");
            Ok(true)
        }
        "order" => {
            let builds = options.take("builds", 60);
            options.none_left()?;
            let report = order::run(DURABLE, builds.try_into()?).await?;
            let order::Report { builds, requests, refused, early, missing, interleaved } = report;
            println!("{builds} builds, {requests} requests, {refused} of them refused");
            println!("out of order: {} {:?}", early.len(), early.first());
            println!("never delivered: {missing}; beside another build's: {interleaved}");
            Ok(early.is_empty() && missing == 0)
        }
        "recovery" => {
            let count = options.take("count", 100_000);
            options.none_left()?;
            let report = recovery::run(DURABLE, count.try_into()?).await?;
            let recovery::Report { counted, total, done, arrived, more, while_paused, took } =
                report;
            println!("counted {counted}, of {total} {done} sent again, {arrived} events arrived");
            println!("{more} requests beside; {while_paused} while paused; {took:.1?}");
            Ok([counted, total, done, arrived as u64] == [count; 4] && while_paused == 0)
        }
        "rotation" => {
            let times = options.take("times", 9);
            options.none_left()?;
            let report = rotation::run(DURABLE, times.try_into()?).await?;
            let rotation::Report { messages, requests, rotations, .. } = report;
            println!("{messages} messages, {requests} requests, {rotations} rotations");
            let rotation::Report { master_keys, unverified, open_secrets, .. } = report;
            println!("{master_keys} changes of the master keys; {unverified} not verified");
            println!("{open_secrets} secrets are in the database as they are");
            Ok(unverified == 0 && open_secrets == 0)
        }
        other => bail!("there is no {other} here\n{USAGE}"),
    }
}
