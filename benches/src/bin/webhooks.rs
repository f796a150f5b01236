//! Webhooks from end to end: messages are taken in through HTTP, and then delivered to nginx.
//!
//!     cargo run --release --package benches --bin webhooks
//!
//! benches/README.md says on what terms.

use std::{
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use benches::{
    figures::{Table, Unit},
    http::Connection,
    nginx::{self, Nginx},
    process,
    servers::{self, Postgres, Redis},
};
use buildfleet::{
    domain::delivery::State,
    store::{self, DeliveriesWanted, Delivery, Store},
};
use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use tokio::{process::Command, task::JoinSet};

const KEY: &str = "the key of this bench";
/// A fleet that stands still is a failure, not a slow one.
const STANDS_STILL_AFTER: Duration = Duration::from_secs(60);
/// The share of the deliveries over which the rate is taken: without the first and the last ones.
const MIDDLE: f64 = 0.9;

#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// How often each is measured
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Messages in each measurement
    #[arg(long, default_value_t = 50_000)]
    count: u32,
    /// Requests on their way at once; may be given several times
    #[arg(long, default_values_t = [10, 100, 500])]
    slots: Vec<u32>,
    /// Clients that send messages at once
    #[arg(long, default_value_t = 50)]
    clients: u32,
}

/// The programs under test, as which this one starts itself.
#[derive(Debug, Subcommand)]
enum What {
    #[command(hide = true)]
    Api,
    #[command(hide = true)]
    Dispatcher,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    match args.what {
        Some(What::Api) => return Ok(api::program().await),
        Some(What::Dispatcher) => return Ok(webhook_dispatcher::program().await),
        None => {}
    }
    let (postgres, receiver) = (servers::postgres(), Nginx::start().await?);
    let mut table = Table::new(["buildfleet"]);
    for run in 1..=args.runs {
        for &slots in &args.slots {
            eprint!("run {run} of {}: {slots} at once:", args.runs);
            let fleet = Fleet::open(&postgres, &receiver).await?;
            fleet.load(&args, &mut table).await?;
            fleet.deliver(&args, slots, &mut table).await?;
        }
    }
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}

/// What the programs stand on: an empty record without limits, an empty queue, a receiver.
struct Fleet<'a> {
    store: std::sync::Arc<dyn Store>,
    database_url: String,
    postgres: &'a Postgres,
    redis: Redis,
    receiver: &'a Nginx,
}

impl<'a> Fleet<'a> {
    async fn open(postgres: &'a Postgres, receiver: &'a Nginx) -> anyhow::Result<Self> {
        let database_url = postgres.fresh_database();
        let store = store::open(&database_url).await?;
        for limit in store.limits().await? {
            store.remove_limit(&limit.name, "bench").await?;
        }
        Ok(Self { store, database_url, postgres, redis: servers::redis(), receiver })
    }

    /// This program as another one.
    fn program(&self, name: &str, settings: &[(&str, String)]) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(name)
            .env_clear()
            .env("DATABASE_URL", &self.database_url)
            .env("REDIS_URL", self.redis.url())
            .env("BUILDFLEET_WEBHOOK_ALLOW", "loopback")
            .env("BUILDFLEET_LOG", "error")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Sends messages to the API, each in a request of its own.
    async fn load(&self, args: &Args, table: &mut Table) -> anyhow::Result<()> {
        let port = nginx::free_port()?;
        let settings = [
            ("BUILDFLEET_LISTEN", format!("127.0.0.1:{port}")),
            ("BUILDFLEET_API_KEY", KEY.to_owned()),
        ];
        let api = self.program("api", &settings)?.spawn()?;
        let id = api.id().context("the API has ended")?;
        let path = format!("/v1/endpoints/{}/test", self.add_endpoint(port).await?);
        let before = (process::cpu(id), cpu_of(self.postgres), Instant::now());
        let mut clients = JoinSet::new();
        for client in 0..args.clients {
            let (path, count) = (path.clone(), share(args.count, client, args.clients));
            clients.spawn(async move {
                let mut connection = Connection::open(port).await?;
                let headers = format!("x-api-key: {KEY}\r\n");
                for _ in 0..count {
                    let (status, said) = connection.request("POST", &path, &headers, b"").await?;
                    ensure!(status == 202, "{status}: {}", String::from_utf8_lossy(&said));
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended??;
        }
        let rate = f64::from(args.count) / before.2.elapsed().as_secs_f64();
        eprint!(" {rate:.0}/s taken in,");
        let name = format!("messages taken in, {} clients", args.clients);
        table.add(&name, Unit::PerSecond, 0, rate);
        let per_1000 = 1000.0 / f64::from(args.count);
        for (who, from, to) in
            [("API", before.0, process::cpu(id)), ("Postgres", before.1, cpu_of(self.postgres))]
        {
            if let (Some(from), Some(to)) = (from, to) {
                let name = format!("messages taken in: CPU of {who} per 1,000");
                table.add(&name, Unit::Millis, 0, (to - from) * 1000.0 * per_1000);
            }
        }
        Ok(())
    }

    /// Waits for the API, and adds the receiver as an endpoint without a rate.
    async fn add_endpoint(&self, port: u16) -> anyhow::Result<String> {
        let until = Instant::now() + STANDS_STILL_AFTER;
        let mut connection = loop {
            match Connection::open(port).await {
                Ok(connection) => break connection,
                Err(error) if until < Instant::now() => return Err(error.context("the API")),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let body = json!({ "url": self.receiver.url(), "rate": "unlimited" }).to_string();
        let headers = format!("x-api-key: {KEY}\r\ncontent-type: application/json\r\n");
        let (status, said) =
            connection.request("POST", "/v1/endpoints", &headers, body.as_bytes()).await?;
        let said: Value = serde_json::from_slice(&said)?;
        ensure!(status == 201, "{status}: {said}");
        Ok(said["id"].as_str().context("an id")?.to_owned())
    }

    /// Starts a dispatcher and lets it deliver all there is.
    async fn deliver(&self, args: &Args, slots: u32, table: &mut Table) -> anyhow::Result<()> {
        let count = u64::from(args.count);
        let before = self.receiver.status().await?;
        let mut asked = 0;
        let cpu = [cpu_of(self.postgres), self.receiver.cpu()];
        let settings = [("BUILDFLEET_DELIVERY_SLOTS", slots.to_string())];
        let dispatcher = self.program("dispatcher", &settings)?.spawn()?;
        let id = dispatcher.id().context("the dispatcher has ended")?;
        let until = Instant::now() + STANDS_STILL_AFTER;
        let seen = loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let seen = self.receiver.status().await?;
            asked += 1;
            if before.requests + asked + count <= seen.requests {
                break seen;
            }
            ensure!(Instant::now() < until, "the dispatcher stands still");
        };
        let deliveries = self.delivered(args.count, until).await?;
        let costs = [
            ("the dispatcher", Some(0.0), process::cpu(id)),
            ("Postgres", cpu[0], cpu_of(self.postgres)),
            ("nginx", cpu[1], self.receiver.cpu()),
        ];
        let memory = process::memory(id);
        drop(dispatcher);

        let rate = rate(&deliveries)?;
        eprintln!(" {rate:.0}/s delivered");
        let mut add = |name: &str, unit, value| {
            table.add(&format!("{slots} at once: {name}"), unit, 0, value);
        };
        add("delivered", Unit::PerSecond, rate);
        let per_1000 = 1000.0 / count as f64;
        for (who, from, to) in costs {
            if let (Some(from), Some(to)) = (from, to) {
                let name = format!("CPU of {who} per 1,000");
                add(&name, Unit::Millis, (to - from) * 1000.0 * per_1000);
            }
        }
        let opened = (seen.connections - before.connections - asked) as f64;
        add("connections opened per 1,000", Unit::Count, opened * per_1000);
        add("requests for each delivery", Unit::Count, {
            (seen.requests - before.requests - asked) as f64 / count as f64
        });
        if let Some(memory) = memory {
            add("memory of the dispatcher", Unit::MiB, memory);
        }
        Ok(())
    }

    /// All deliveries, once each has been delivered in its first attempt.
    async fn delivered(&self, count: u32, until: Instant) -> anyhow::Result<Vec<Delivery>> {
        for state in [State::Pending, State::InProgress] {
            let open = DeliveriesWanted {
                tenant: "default".to_owned(),
                build: None,
                state: Some(state),
                limit: 1,
                after: None,
            };
            while !self.store.deliveries(&open).await?.rows.is_empty() {
                ensure!(Instant::now() < until, "the dispatcher has not written all down");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let all = DeliveriesWanted {
            tenant: "default".to_owned(),
            build: None,
            state: Some(State::Delivered),
            limit: count + 1,
            after: None,
        };
        let deliveries = self.store.deliveries(&all).await?.rows;
        ensure!(deliveries.len() == count as usize, "{} are delivered", deliveries.len());
        // Each try is a row of its own.
        for delivery in deliveries.iter().step_by(1_000) {
            let attempts = self.store.delivery_attempts(delivery.id).await?;
            ensure!(attempts.len() == delivery.attempt as usize, "{attempts:?}");
        }
        Ok(deliveries)
    }
}

fn cpu_of(postgres: &Postgres) -> Option<f64> {
    process::cpu_of_family(postgres.process()?)
}

/// How much of a count is one's share.
const fn share(count: u32, index: u32, of: u32) -> u32 {
    count / of + if index < count % of { 1 } else { 0 }
}

/// Deliveries a second over the middle of them, by the clock of the record.
fn rate(deliveries: &[Delivery]) -> anyhow::Result<f64> {
    let mut settled: Vec<i64> =
        deliveries.iter().filter_map(|delivery| Some(delivery.settled_at?.0)).collect();
    settled.sort_unstable();
    ensure!(1 < settled.len(), "too few to measure");
    let at = |share: f64| {
        let index = (share * (settled.len() - 1) as f64).round() as usize;
        (index, settled[index])
    };
    let (from, to) = (at((1.0 - MIDDLE) / 2.0), at((1.0 + MIDDLE) / 2.0));
    Ok((to.0 - from.0) as f64 * 1000.0 / (to.1 - from.1).max(1) as f64)
}
