//! The queue alone: push, handler starts, done with. Nothing is done, and nothing is recorded.
//!
//!     cargo run --release --package benches --features apalis-redis --bin queue
//!
//! benches/README.md says what is compared and on what terms.

use anyhow::Context as _;
use benches::{
    figures::{Series, Table, Unit},
    hop,
    peers::Peers,
    servers,
};
use buildfleet::queue;
use clap::Parser;
use serde_json::json;

const PRODUCERS: usize = 50;
const BULK: usize = 500;
const PICKUPS: (usize, usize) = (50, 500);

#[derive(Debug, Parser)]
struct Args {
    /// How often each is measured
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only cases with this in their name
    #[arg(long)]
    only: Option<String>,
    /// Nobody but buildfleet
    #[arg(long)]
    alone: bool,
}

#[derive(Debug, Clone, Copy)]
enum Case {
    PushEach,
    PushBeside,
    PushBulk,
    Work { slots: usize },
    Pickup,
}

const CASES: &[Case] = &[
    Case::PushEach,
    Case::PushBeside,
    Case::PushBulk,
    Case::Work { slots: 1 },
    Case::Work { slots: 50 },
    Case::Work { slots: 200 },
    Case::Pickup,
];

impl Case {
    fn name(self) -> String {
        match self {
            Case::PushEach => "push, one by one".to_owned(),
            Case::PushBeside => format!("push, {PRODUCERS} producers"),
            Case::PushBulk => format!("push, {BULK} a call"),
            Case::Work { slots } => format!("work, {slots} at once"),
            Case::Pickup => "idle pickup".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Contestant {
    Buildfleet,
    BullMq,
    #[cfg(feature = "apalis-redis")]
    ApalisRedis,
}

const CONTESTANTS: &[(Contestant, &str)] = &[
    (Contestant::Buildfleet, "buildfleet"),
    (Contestant::BullMq, "BullMQ 6.7.0"),
    #[cfg(feature = "apalis-redis")]
    (Contestant::ApalisRedis, "apalis-redis 1.0.0"),
];

impl Contestant {
    /// So many jobs that a measurement takes about a second, as far as it can be: no more than
    /// 100,000 may wait in a lane of ours, and less than 8,000 in a queue of apalis-redis.
    fn jobs(self, case: Case) -> usize {
        match (self, case) {
            (Contestant::Buildfleet, Case::PushEach | Case::Work { slots: 1 }) => 15_000,
            (Contestant::Buildfleet, _) => 100_000,
            (Contestant::BullMq, Case::PushEach | Case::Work { slots: 1 }) => 5_000,
            (Contestant::BullMq, _) => 20_000,
            #[cfg(feature = "apalis-redis")]
            (Contestant::ApalisRedis, Case::PushBeside | Case::PushBulk) => 50_000,
            #[cfg(feature = "apalis-redis")]
            (Contestant::ApalisRedis, _) => 5_000,
        }
    }

    /// Measures once, on a server of its own.
    async fn measure(self, case: Case, peers: Option<&Peers>) -> anyhow::Result<Measured> {
        let redis = servers::redis();
        let count = self.jobs(case);
        match self {
            Contestant::Buildfleet => ours(&redis.url(), case, count).await,
            Contestant::BullMq => {
                let peers = peers.context("peers are installed unless buildfleet is alone")?;
                bullmq(peers, &redis, case, count).await
            }
            #[cfg(feature = "apalis-redis")]
            Contestant::ApalisRedis => apalis_redis(&redis.url(), case, count).await,
        }
    }
}

enum Measured {
    Rate(f64),
    /// Milliseconds.
    Pickup {
        p50: f64,
        p99: f64,
    },
}

impl Measured {
    fn pickup(took: &Series) -> anyhow::Result<Self> {
        let at = |share| took.quantile(share).context("nothing was measured");
        Ok(Measured::Pickup { p50: at(0.5)?, p99: at(0.99)? })
    }
}

async fn ours(url: &str, case: Case, count: usize) -> anyhow::Result<Measured> {
    let queue = queue::open(Some(url)).await?;
    let (warm, pickups) = PICKUPS;
    let rate = match case {
        Case::PushEach => hop::push_each(&*queue, count).await?,
        Case::PushBeside => hop::push_beside(&queue, count, PRODUCERS).await?,
        Case::PushBulk => hop::push_bulk(&*queue, count, BULK).await?,
        Case::Work { slots } => hop::work(&queue, count, slots).await?,
        Case::Pickup => return Measured::pickup(&hop::pickup(&queue, warm, pickups).await?),
    };
    Ok(Measured::Rate(rate))
}

async fn bullmq(
    peers: &Peers,
    redis: &servers::Redis,
    case: Case,
    count: usize,
) -> anyhow::Result<Measured> {
    let port = redis.port();
    let (warm, pickups) = PICKUPS;
    let (kind, options) = match case {
        Case::PushEach => ("push-each", json!({"port": port, "jobs": count})),
        Case::PushBeside => {
            ("push-beside", json!({"port": port, "jobs": count, "producers": PRODUCERS}))
        }
        Case::PushBulk => ("push-bulk", json!({"port": port, "jobs": count, "bulk": BULK})),
        Case::Work { slots } => ("work", json!({"port": port, "jobs": count, "slots": slots})),
        Case::Pickup => {
            ("pickup", json!({"port": port, "jobs": pickups, "warm": warm, "slots": 50}))
        }
    };
    let said = peers.ask("bullmq.js", kind, &options).await?;
    let number = |name: &str| said[name].as_f64().with_context(|| format!("{said} has no {name}"));
    Ok(match case {
        Case::Pickup => Measured::Pickup { p50: number("p50")?, p99: number("p99")? },
        _ => Measured::Rate(number("rate")?),
    })
}

#[cfg(feature = "apalis-redis")]
async fn apalis_redis(url: &str, case: Case, count: usize) -> anyhow::Result<Measured> {
    use benches::apalis;

    let (warm, pickups) = PICKUPS;
    let rate = match case {
        Case::PushEach => apalis::push_each(url, count).await?,
        Case::PushBeside => apalis::push_beside(url, count, PRODUCERS).await?,
        Case::PushBulk => apalis::push_bulk(url, count, BULK).await?,
        Case::Work { slots } => apalis::work(url, count, slots).await?,
        Case::Pickup => return Measured::pickup(&apalis::pickup(url, warm, pickups).await?),
    };
    Ok(Measured::Rate(rate))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let contestants = if args.alone { &CONTESTANTS[..1] } else { CONTESTANTS };
    let peers = (!args.alone).then(Peers::install).transpose()?;
    let mut table = Table::new(contestants.iter().map(|(_, name)| *name));
    let wanted = |case: &Case| args.only.as_ref().is_none_or(|only| case.name().contains(only));
    for run in 1..=args.runs {
        for case in CASES.iter().copied().filter(|case| wanted(case)) {
            for (column, (contestant, name)) in contestants.iter().enumerate() {
                eprintln!("run {run} of {}: {}: {name}", args.runs, case.name());
                // A peer that cannot do it loses its figure; the others are measured all the same.
                match contestant.measure(case, peers.as_ref()).await {
                    Ok(measured) => note(&mut table, case, column, &measured),
                    Err(error) if column > 0 => eprintln!("  {error:#}"),
                    Err(error) => return Err(error),
                }
            }
        }
    }
    println!("{table}");
    Ok(())
}

fn note(table: &mut Table, case: Case, column: usize, measured: &Measured) {
    match *measured {
        Measured::Rate(rate) => table.add(&case.name(), Unit::PerSecond, column, rate),
        Measured::Pickup { p50, p99 } => {
            table.add(&format!("{}, p50", case.name()), Unit::Millis, column, p50);
            table.add(&format!("{}, p99", case.name()), Unit::Millis, column, p99);
        }
    }
}
