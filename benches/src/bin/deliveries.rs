//! How fast the record gives deliveries out and takes answers back: what the dispatcher can do at
//! most, without a request being made. `deliveries COUNT SLOTS...`

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use benches::{fleet::PRODUCERS, servers};
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
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{sync::Semaphore, task::JoinSet};

const LEASE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u32>());
    let count = args.next().transpose()?.unwrap_or(20_000);
    let slots: Vec<u32> = args.collect::<Result<_, _>>()?;
    let slots = if slots.is_empty() { vec![10, 100, 500] } else { slots };
    let postgres = servers::postgres();
    for slots in slots {
        let url = postgres.fresh_database();
        let store = store::open(&url).await?;
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
        let begun = Instant::now();
        load(&store, id, count).await?;
        let loaded = f64::from(count) / begun.elapsed().as_secs_f64();
        println!("taken in: {loaded:.0} a second");
        let begun = Instant::now();
        drain(&store, count, slots).await?;
        let took = begun.elapsed().as_secs_f64();
        println!("{slots} slots: {:.0} a second", f64::from(count) / took);
    }
    Ok(())
}

/// Puts deliveries of tests into the record, as the API does.
async fn load(store: &Arc<dyn Store>, endpoint: EndpointId, count: u32) -> anyhow::Result<()> {
    stream::iter(0..count)
        .map(|_| store.test_endpoint(endpoint))
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
    let (mut claims_made, mut claiming) = (0u32, Duration::ZERO);
    while done < count {
        let mut room = Arc::clone(&free).acquire_many_owned(1).await?;
        tokio::task::yield_now().await;
        let others = u32::try_from(free.available_permits())?;
        if let Ok(others) = Arc::clone(&free).try_acquire_many_owned(others) {
            room.merge(others);
        }
        let ask = Ask { holder, lease: LEASE, room: u32::try_from(room.num_permits())?, slots };
        while at_work.try_join_next().is_some() {}
        let begun = Instant::now();
        let claims = store.claim_deliveries(&ask).await?;
        claiming += begun.elapsed();
        claims_made += 1;
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
    println!(
        "{claims_made} claims of {:.1} deliveries, {:.2} ms each",
        f64::from(count) / f64::from(claims_made),
        claiming.as_secs_f64() * 1000.0 / f64::from(claims_made)
    );
    Ok(())
}
