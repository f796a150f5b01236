//! Runs the simulation on many seeds, and says of the first that goes wrong how to run it again.
//!
//! `simulate --seeds 10000 [--from N] [--seed N] [--faults PER_MILLE] [--plant BUG]`

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tests::sim::{
    run::{Options, Report, run},
    store::feed::Plant,
    work::SCRIPTED,
};

struct Asked {
    from: u64,
    seeds: u64,
    options: Options,
    /// As it was given, to be given again.
    more: String,
}

#[derive(Default)]
struct Sum {
    runs: u64,
    commits: u64,
    builds: usize,
    lasted: Duration,
    faults: BTreeMap<&'static str, u64>,
    in_vain: u64,
    broken: Option<Report>,
}

fn main() -> ExitCode {
    let asked = match read() {
        Ok(asked) => asked,
        Err(wrong) => {
            eprintln!("simulate: {wrong}");
            return ExitCode::from(2);
        }
    };
    quiet_scripted_panics();
    let began = Instant::now();
    let sum = run_all(&asked);
    show(&sum, began.elapsed());
    match &sum.broken {
        None => ExitCode::SUCCESS,
        Some(report) => {
            show_broken(report, &asked);
            ExitCode::FAILURE
        }
    }
}

fn read() -> Result<Asked, String> {
    let mut asked = Asked { from: 0, seeds: 200, options: Options::default(), more: String::new() };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().ok_or_else(|| format!("{name} wants a value"))?;
        let number = value.parse::<u64>().map_err(|_| format!("{name} wants a number"));
        match name.as_str() {
            "--seeds" => asked.seeds = number?,
            "--from" => asked.from = number?,
            "--seed" => (asked.from, asked.seeds) = (number?, 1),
            "--faults" => {
                asked.options.faults = Some(number?);
                asked.more += &format!(" --faults {value}");
            }
            "--plant" => {
                let plant = Plant::of(&value);
                let known: Vec<_> = Plant::ALL.iter().map(|(name, _)| *name).collect();
                let unknown = || format!("bugs to plant are {}", known.join(", "));
                asked.options.plant = Some(plant.ok_or_else(unknown)?);
                asked.more += &format!(" --plant {value}");
            }
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok(asked)
}

/// Runs that panic on purpose say nothing; others do.
fn quiet_scripted_panics() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let words = info.payload().downcast_ref::<&str>().copied().map(str::to_owned);
        let words = words.or_else(|| info.payload().downcast_ref::<String>().cloned());
        if words.as_deref() != Some(SCRIPTED) {
            loud(info);
        }
    }));
}

fn run_all(asked: &Asked) -> Sum {
    let (next, stop, sum) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::<Sum>::default());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if asked.seeds <= number {
                        break;
                    }
                    let report = run(asked.from + number, asked.options);
                    stop.fetch_or(report.broken.is_some(), Ordering::Relaxed);
                    add(&mut sum.lock().unwrap_or_else(PoisonError::into_inner), report, began);
                }
            });
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn add(sum: &mut Sum, report: Report, began: Instant) {
    sum.runs += 1;
    sum.commits += report.seen.commits;
    sum.builds += report.builds;
    sum.lasted += report.lasted;
    sum.in_vain += report.in_vain;
    for (what, count) in &report.faults {
        *sum.faults.entry(what).or_default() += count;
    }
    if report.broken.is_some() && sum.broken.as_ref().is_none_or(|other| report.seed < other.seed) {
        sum.broken = Some(report);
    }
    if sum.runs.is_multiple_of(500) {
        eprintln!("{} seeds, {:.0} s", sum.runs, began.elapsed().as_secs_f64());
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn show(sum: &Sum, took: Duration) {
    let faults: u64 = sum.faults.values().sum();
    let each = |count: u64| count as f64 / sum.runs.max(1) as f64;
    println!(
        "{} seeds in {:.1} s ({:.1} seeds/s), {:.0} s of a fleet's life each; a seed has \
         {:.1} builds, {:.0} commits and {:.0} faults on average",
        sum.runs,
        took.as_secs_f64(),
        sum.runs as f64 / took.as_secs_f64(),
        sum.lasted.as_secs_f64() / sum.runs.max(1) as f64,
        each(sum.builds as u64),
        each(sum.commits),
        each(faults),
    );
    let all: Vec<String> =
        sum.faults.iter().map(|(what, count)| format!("{what} {:.1}", each(*count))).collect();
    println!("faults a seed: {}", all.join(", "));
    println!("and {:.0} calls a seed into outages, which are not counted", each(sum.in_vain));
}

fn show_broken(report: &Report, asked: &Asked) {
    println!();
    for line in &report.trace {
        println!("{line}");
    }
    let seed = report.seed;
    println!("\nseed {seed}: {}", report.broken.as_deref().unwrap_or_default());
    println!("found within {} seeds; to see it again:", seed - asked.from + 1);
    println!("  cargo run -p tests --bin simulate -- --seed {seed}{}", asked.more);
}
