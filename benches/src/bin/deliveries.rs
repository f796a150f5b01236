//! How fast the record gives deliveries out and takes answers back: what the dispatcher can do at
//! most, without a request being made.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use benches::{
    figures::{Table, Unit},
    fleet::PRODUCERS,
    servers::{self, Postgres},
};
use buildfleet::{
    domain::{
        endpoint::Settings,
        id::EndpointId,
        limit::{By, Limit},
        retry::{Jitter, Policy},
    },
    draw,
    job::Lane,
    store::{self, Ask, NewTenantEndpoint, SendResult, Store},
};
use clap::Parser;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{sync::Semaphore, task::JoinSet};

const LEASE: Duration = Duration::from_secs(60);

#[derive(Debug, Parser)]
struct Args {
    /// How often each is measured
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Deliveries in each measurement
    #[arg(long, default_value_t = 20_000)]
    count: u32,
    /// Deliveries at work at once; may be given several times
    #[arg(long, default_values_t = [10, 100, 500])]
    slots: Vec<u32>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let postgres = servers::postgres();
    let mut table = Table::new(["buildfleet"]);
    for run in 1..=args.runs {
        for &slots in &args.slots {
            eprintln!("run {run} of {}: {slots} at once", args.runs);
            let (store, endpoint) = open(&postgres).await?;
            let begun = Instant::now();
            load(&store, endpoint, args.count).await?;
            let loaded = f64::from(args.count) / begun.elapsed().as_secs_f64();
            table.add("taken in", Unit::PerSecond, 0, loaded);
            let begun = Instant::now();
            drain(&store, args.count, slots).await?;
            let drained = f64::from(args.count) / begun.elapsed().as_secs_f64();
            table.add(
                &format!("given out and answered, {slots} at once"),
                Unit::PerSecond,
                0,
                drained,
            );
        }
    }
    println!("{table}");
    Ok(())
}

/// An empty record with an endpoint, and limits that are never reached.
async fn open(postgres: &Postgres) -> anyhow::Result<(Arc<dyn Store>, EndpointId)> {
    let store = store::open(&postgres.fresh_database()).await?;
    let most = Limit {
        name: "deliveries".to_owned(),
        lane: Some(Lane::Deliveries),
        by: By::All,
        value: None,
        concurrency: Some(10_000),
        rate: None,
    };
    store.put_limit(&most, "bench").await?;
    let id: EndpointId = draw::id();
    let settings = Settings { ordered: false, ..Settings::of("http://127.0.0.1:9000/") };
    let (tenant, secret) = ("default".to_owned(), "whsec_c2VjcmV0".into());
    store.add_endpoint(NewTenantEndpoint { id, tenant, settings, secret }).await?;
    Ok((store, id))
}

/// Puts deliveries of tests into the record, as the API does.
async fn load(store: &Arc<dyn Store>, endpoint: EndpointId, count: u32) -> anyhow::Result<()> {
    stream::iter(0..count)
        .map(|_| store.test_endpoint("default", endpoint))
        .buffer_unordered(PRODUCERS)
        .try_for_each(async |_| Ok(()))
        .await?;
    Ok(())
}

async fn drain(store: &Arc<dyn Store>, count: u32, slots: u32) -> anyhow::Result<()> {
    let free = Arc::new(Semaphore::new(slots as usize));
    let holder = draw::id();
    let mut done = 0;
    let mut at_work = JoinSet::new();
    while done < count {
        let mut room = Arc::clone(&free).acquire_many_owned(1).await?;
        tokio::task::yield_now().await;
        let others = u32::try_from(free.available_permits())?;
        if let Ok(others) = Arc::clone(&free).try_acquire_many_owned(others) {
            room.merge(others);
        }
        let ask = Ask { holder, lease: LEASE, room: u32::try_from(room.num_permits())?, slots };
        while at_work.try_join_next().is_some() {}
        let claims = store.claim_deliveries(&ask).await?;
        done += u32::try_from(claims.len())?;
        for claim in claims {
            let store = Arc::clone(store);
            let slot = room.split(1).context("more was given than asked for")?;
            at_work.spawn(async move {
                let result = SendResult { status: Some(204), took_ms: 1, ..SendResult::default() };
                let (policy, jitter) = (&Policy::DELIVERY, Jitter::NONE);
                if let Err(error) =
                    store.settle_delivery(claim.fence(), &result, policy, jitter).await
                {
                    eprintln!("not settled: {error}");
                }
                drop(slot);
            });
        }
    }
    at_work.join_all().await;
    Ok(())
}
