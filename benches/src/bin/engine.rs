//! The whole life of a task with the record: added, ready, claimed, attempt, settled, dependents
//! released. Nothing is done by the tasks themselves.
//!
//!     cargo run --release --package benches --bin engine
//!     cargo run --release --package benches --bin engine -- graphs --dag FILE
//!     cargo run --release --package benches --bin engine -- limits
//!
//! benches/README.md says what is compared and on what terms.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use benches::{
    figures::{Table, Unit},
    fleet::{self, Fleet, PRODUCERS},
    graph::Graph,
    peers::Peers,
    servers::{self, Postgres},
};
use buildfleet::{
    domain::{
        limit::{By, Limit},
        plan::Plan,
    },
    job::Lane,
};
use clap::{Parser, Subcommand};
use serde_json::json;

const CHILDREN: usize = 10;

#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// How often each is measured
    #[arg(long, default_value_t = 5, global = true)]
    runs: usize,
    /// Only cases with this in their name
    #[arg(long, global = true)]
    only: Option<String>,
    /// Nobody but buildfleet
    #[arg(long)]
    alone: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Large graphs beside one of 1,000 tasks: what a task costs, and the memory of the worker
    Graphs {
        /// A graph to work off instead of one that is made by rule; may be given several times
        #[arg(long)]
        dag: Vec<PathBuf>,
        #[arg(long, default_value_t = 50)]
        slots: u32,
    },
    /// Three stacked limits and a thousand tenants, against no limits and one tenant
    Limits,
    #[command(name = fleet::WORK, hide = true)]
    Work,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let table = match &args.what {
        None => peers(&args).await?,
        Some(What::Graphs { dag, slots }) => graphs(&args, dag, *slots).await?,
        Some(What::Limits) => limits(&args).await?,
        Some(What::Work) => return Ok(fleet::work().await),
    };
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// Every case in every run, and what it is, told.
    fn interleaved<'a, T>(
        &self,
        cases: &'a [T],
        name: impl Fn(&T) -> String,
    ) -> impl Iterator<Item = (String, &'a T)> {
        let wanted: Vec<_> = cases
            .iter()
            .map(|case| (name(case), case))
            .filter(|(name, _)| self.only.as_ref().is_none_or(|only| name.contains(only)))
            .collect();
        let runs = self.runs;
        (1..=runs).flat_map(move |run| {
            wanted.clone().into_iter().inspect(move |(name, _)| {
                eprintln!("run {run} of {runs}: {name}");
            })
        })
    }
}

/// Work to be added and worked off, by so many processes of so many slots.
#[derive(Debug, Clone, Copy)]
struct Case {
    shape: Shape,
    processes: usize,
    slots: u32,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    /// Builds, or flows, of one parent and ten children.
    Families(usize),
    /// Builds of so many tasks that wait for nothing.
    Apart { builds: usize, tasks: usize },
}

const CASES: &[Case] = &[
    Case { shape: Shape::Families(1_000), processes: 1, slots: 50 },
    Case { shape: Shape::Families(1_000), processes: 1, slots: 200 },
    Case { shape: Shape::Families(1_000), processes: 2, slots: 50 },
    Case { shape: Shape::Families(1_000), processes: 2, slots: 200 },
    Case { shape: Shape::Apart { builds: 1, tasks: 1_000 }, processes: 1, slots: 50 },
    Case { shape: Shape::Apart { builds: 10, tasks: 1_000 }, processes: 1, slots: 50 },
    Case { shape: Shape::Apart { builds: 10, tasks: 1_000 }, processes: 1, slots: 200 },
    Case { shape: Shape::Apart { builds: 10, tasks: 1_000 }, processes: 2, slots: 200 },
];

impl Case {
    fn name(&self) -> String {
        let processes = match self.processes {
            1 => "1 process".to_owned(),
            more => format!("{more} processes"),
        };
        let shape = match self.shape {
            Shape::Families(builds) => format!("{builds} x (1 + {CHILDREN})"),
            Shape::Apart { builds, tasks } => format!("{builds} x {tasks} apart"),
        };
        format!("{shape}, {processes} of {} slots", self.slots)
    }

    fn jobs(&self) -> usize {
        match self.shape {
            Shape::Families(builds) => builds * (CHILDREN + 1),
            Shape::Apart { builds, tasks } => builds * tasks,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Contestant {
    Buildfleet,
    BullMq,
    Graphile { batched: bool },
}

const CONTESTANTS: &[(Contestant, &str)] = &[
    (Contestant::Buildfleet, "buildfleet"),
    (Contestant::BullMq, "BullMQ 6.7.0, no record"),
    (Contestant::Graphile { batched: false }, "Graphile Worker 0.18.0"),
    (Contestant::Graphile { batched: true }, "Graphile Worker 0.18.0, batched"),
];

/// Seconds for adding all, and then for working it all off.
struct Took {
    adding: f64,
    working: f64,
}

async fn peers(args: &Args) -> anyhow::Result<Table> {
    let postgres = servers::postgres();
    let peers = (!args.alone).then(Peers::install).transpose()?;
    let contestants = if args.alone { &CONTESTANTS[..1] } else { CONTESTANTS };
    let mut table = Table::new(contestants.iter().map(|(_, name)| *name));
    for (name, case) in args.interleaved(CASES, Case::name) {
        for (column, (contestant, _)) in contestants.iter().enumerate() {
            let took = match (contestant, &peers) {
                (Contestant::BullMq, Some(peers)) => bullmq(peers, case).await?,
                (Contestant::Graphile { batched }, Some(peers)) => {
                    graphile(peers, &postgres, case, *batched).await?
                }
                _ => ours(&postgres, case).await?,
            };
            let jobs = case.jobs() as f64;
            let whole = took.adding + took.working;
            table.add(&format!("{name}: worked"), Unit::PerSecond, column, jobs / took.working);
            table.add(&format!("{name}: added and worked"), Unit::PerSecond, column, jobs / whole);
        }
    }
    Ok(table)
}

async fn ours(postgres: &Postgres, case: &Case) -> anyhow::Result<Took> {
    let (builds, graph) = match case.shape {
        Shape::Families(builds) => (builds, Graph::family(CHILDREN)),
        Shape::Apart { builds, tasks } => (builds, Graph::apart(tasks)),
    };
    let plan = Arc::new(graph.plan()?);
    let fleet = Fleet::open(postgres, &[]).await?;
    let added = fleet.add(vec![("default".to_owned(), plan); builds]).await?;
    let worked = fleet.work(&added, case.processes, case.slots).await?;
    Ok(Took { adding: added.seconds, working: worked.seconds })
}

async fn bullmq(peers: &Peers, case: &Case) -> anyhow::Result<Took> {
    let redis = servers::redis();
    let port = redis.port();
    let (kind, options) = match case.shape {
        Shape::Families(flows) => (
            "add-flows",
            json!({
                "port": port, "flows": flows, "children": CHILDREN, "bulk": 1, "producers": PRODUCERS,
            }),
        ),
        Shape::Apart { tasks, .. } => {
            ("add-jobs", json!({"port": port, "jobs": case.jobs(), "bulk": tasks}))
        }
    };
    let added = peers.ask("bullmq.js", kind, &options).await?;
    let options = json!({"port": port, "slots": case.slots});
    let working = peers.work("bullmq.js", &options, case.processes, case.jobs() as u64).await?;
    Ok(Took { adding: seconds(&added)?, working })
}

async fn graphile(
    peers: &Peers,
    postgres: &Postgres,
    case: &Case,
    batched: bool,
) -> anyhow::Result<Took> {
    let url = postgres.fresh_database();
    peers.ask("graphile.js", "prepare", &json!({"url": url})).await?;
    // It knows no parents: all jobs of a family are added by one call, and wait for nothing.
    let bulk = match case.shape {
        Shape::Families(_) => CHILDREN + 1,
        Shape::Apart { tasks, .. } => tasks,
    };
    let options = json!({
        "url": url, "jobs": case.jobs(), "bulk": bulk, "producers": PRODUCERS,
        "connections": PRODUCERS,
    });
    let added = peers.ask("graphile.js", "add", &options).await?;
    let options = json!({"url": url, "slots": case.slots, "batched": batched});
    let working = peers.work("graphile.js", &options, case.processes, case.jobs() as u64).await?;
    Ok(Took { adding: seconds(&added)?, working })
}

fn seconds(said: &serde_json::Value) -> anyhow::Result<f64> {
    said["seconds"].as_f64().ok_or_else(|| anyhow::anyhow!("{said} has no seconds"))
}

async fn graphs(args: &Args, dag: &[PathBuf], slots: u32) -> anyhow::Result<Table> {
    let postgres = servers::postgres();
    let small = Arc::new(Graph::layers(1_000, 100).plan()?);
    let mut large: Vec<(String, Arc<Plan>)> = Vec::new();
    for path in dag {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        large.push((name, Arc::new(Graph::read(path)?.plan()?)));
    }
    if large.is_empty() {
        large.push(("50,000 in layers".to_owned(), Arc::new(Graph::layers(50_000, 100).plan()?)));
    }
    let mut table = Table::new(["buildfleet"]);
    for (name, (_, plan)) in args.interleaved(&large, |(name, _)| name.clone()) {
        // As many tasks in all, a thousand at a time, one after the other.
        let (mut seconds, builds) = (0.0, 10);
        for _ in 0..builds {
            seconds += work_off(&postgres, &small, slots).await?.seconds;
        }
        let base = seconds * 1e6 / (builds * small.tasks.len()) as f64;
        table.add("1,000 in layers: a task", Unit::Micros, 0, base);
        let worked = work_off(&postgres, plan, slots).await?;
        let cost = worked.seconds * 1e6 / plan.tasks.len() as f64;
        table.add(&format!("{name}: a task"), Unit::Micros, 0, cost);
        table.add(&format!("{name}: against 1,000 in layers"), Unit::Times, 0, cost / base);
        if let Some(memory) = worked.memory {
            table.add(&format!("{name}: memory of the worker"), Unit::MiB, 0, memory);
        }
    }
    Ok(table)
}

async fn work_off(
    postgres: &Postgres,
    plan: &Arc<Plan>,
    slots: u32,
) -> anyhow::Result<fleet::Worked> {
    let fleet = Fleet::open(postgres, &[]).await?;
    let added = fleet.add(vec![("default".to_owned(), Arc::clone(plan))]).await?;
    fleet.work(&added, 1, slots).await
}

async fn limits(args: &Args) -> anyhow::Result<Table> {
    const BUILDS: usize = 1_000;
    let postgres = servers::postgres();
    let plan = Arc::new(Graph::family(CHILDREN).plan()?);
    // None of them is reached, so that what they cost is seen, and not what they are for.
    let stacked =
        [("all", By::All), ("kind", By::Kind), ("tenant", By::Tenant)].map(|(name, by)| {
            let (lane, concurrency) = (Some(Lane::Tasks), Some(1_000));
            Limit { name: name.to_owned(), lane, by, value: None, concurrency, rate: None }
        });
    let cases = [(1, 50), (1, 200), (2, 50)];
    let name = |(processes, slots): &(usize, u32)| format!("{processes} of {slots} slots");
    let mut table = Table::new(["three limits, 1,000 tenants", "no limits, one tenant"]);
    for (name, (processes, slots)) in args.interleaved(&cases, name) {
        for (column, limits) in [&stacked[..], &[]].into_iter().enumerate() {
            let fleet = Fleet::open(&postgres, limits).await?;
            let builds = (0..BUILDS)
                .map(|build| {
                    let tenant =
                        if column == 0 { format!("tenant-{build}") } else { "default".into() };
                    (tenant, Arc::clone(&plan))
                })
                .collect();
            let added = fleet.add(builds).await?;
            let worked = fleet.work(&added, *processes, *slots).await?;
            let jobs = (BUILDS * plan.tasks.len()) as f64;
            table.add(&format!("{name}: worked"), Unit::PerSecond, column, jobs / worked.seconds);
        }
    }
    Ok(table)
}
