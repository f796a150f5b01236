//! Healthy endpoints beside one that does not answer.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use futures_util::future::join_all;
use serde_json::json;

use super::{DISPATCHER, Yard, inbox::Answer};
use crate::storm::{clock, ground::Ground, spread::Spread};

const HEALTHY: usize = 20;
const HEALTHY_A_SECOND: u32 = 5;
const NEIGHBOUR_A_SECOND: u32 = 50;

/// Who is there beside the healthy ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    Nobody,
    /// Answers at once.
    Quick,
    /// Never answers, so each request lasts until the time limit.
    BlackHole,
}

/// How the healthy ones fared.
pub struct Fared {
    pub beside: Neighbour,
    pub sent: usize,
    /// Those that had arrived when the last one was sent, and a second after.
    pub arrived: usize,
    /// From the call to the API to the arrival.
    pub took: Spread,
    /// Requests that the neighbour got.
    pub neighbour_got: usize,
}

/// Goes through all neighbours, so many seconds each, so many times.
pub async fn run(settings: &str, secs: u32, rounds: u32) -> anyhow::Result<Vec<Fared>> {
    let yard = Yard::open(Ground::new(settings, 15).await?).await?;
    let mut endpoints = Vec::new();
    for place in 0..HEALTHY {
        endpoints.push(yard.endpoint(&format!("/healthy/{place}"), json!({})).await?.id);
    }
    let _dispatcher = yard.ground.start(DISPATCHER);
    // Nobody is new to the dispatcher when it counts.
    phase(&yard, &endpoints, Neighbour::Nobody, 5).await?;
    let mut fared = Vec::new();
    for _ in 0..rounds {
        for beside in [Neighbour::Nobody, Neighbour::Quick, Neighbour::BlackHole] {
            fared.push(phase(&yard, &endpoints, beside, secs).await?);
        }
    }
    Ok(fared)
}

async fn phase(
    yard: &Yard,
    healthy: &[String],
    beside: Neighbour,
    secs: u32,
) -> anyhow::Result<Fared> {
    let path = format!("/neighbour/{}", clock::micros());
    match beside {
        Neighbour::BlackHole => yard.inbox.behave(&path, |_| Answer::Hang),
        Neighbour::Quick | Neighbour::Nobody => {}
    }
    let neighbour = yard.endpoint(&path, json!({})).await?.id;
    let called: Mutex<HashMap<String, i64>> = Mutex::default();
    let regularly = async |endpoint: &str, a_second: u32, keep: bool, offset: Duration| {
        tokio::time::sleep(offset).await;
        let mut every = tokio::time::interval(Duration::from_secs(1) / a_second);
        for _ in 0..a_second * secs {
            every.tick().await;
            let at = clock::micros();
            let event = yard.send(endpoint).await?;
            if keep {
                called.lock().unwrap().insert(event, at);
            }
        }
        anyhow::Ok(())
    };
    let of_healthy = join_all(healthy.iter().enumerate().map(|(place, id)| {
        regularly(id, HEALTHY_A_SECOND, true, Duration::from_millis(10) * place as u32)
    }));
    let of_neighbour = async {
        match beside {
            Neighbour::Nobody => Ok(()),
            _ => regularly(&neighbour, NEIGHBOUR_A_SECOND, false, Duration::ZERO).await,
        }
    };
    let (all, other) = tokio::join!(of_healthy, of_neighbour);
    all.into_iter().collect::<anyhow::Result<()>>()?;
    other?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let called = called.into_inner().unwrap_or_default();
    let arrivals = yard.inbox.arrivals();
    let took: Vec<f64> = arrivals
        .iter()
        .filter_map(|arrival| {
            let at = called.get(&arrival.event)?;
            Some((arrival.at - at) as f64 / 1000.0)
        })
        .collect();
    let neighbour_got = arrivals.iter().filter(|arrival| arrival.path == path).count();
    // What the neighbour did not take is of no interest any more.
    yard.post(&format!("/v1/endpoints/{neighbour}/disable"), json!({})).await?;
    Ok(Fared {
        beside,
        sent: called.len(),
        arrived: took.len(),
        took: Spread::of(took),
        neighbour_got,
    })
}
