//! Every program of a fleet is told to end and started anew, one after the other, under load.

use std::time::{Duration, Instant};

use super::{
    ground::{Ground, KEY},
    history::{self, Expected, Finding},
};
use crate::{
    client::{Client, Post},
    patience,
    programs::Program,
    receiver::Receiver,
};

const PROMPTS: [&str; 3] = [
    "Build a REST API for managing a garden with beds, plants and harvests",
    "An Express service in TypeScript for a museum with rooms, exhibits and guides",
    "A command line tool in Python that tracks runs and their distances",
];
const PROGRAMS: [(&str, usize); 4] =
    [("buildfleet-api", 1), ("plan-worker", 2), ("task-worker", 3), ("webhook-dispatcher", 2)];
/// Builds that are posted between two restarts.
const POSTED_EACH: usize = 4;
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const DONE_WITHIN: Duration = Duration::from_secs(300);
const UNTOLD: &str = "
    select (select count(*) from builds where settled_at is null)
         + (select count(*) from deliveries where settled_at is null)";

pub struct Report {
    pub restarts: usize,
    /// Tasks that were being run at the moments at which task workers were told to end.
    pub met: i64,
    pub builds: usize,
    pub took: Duration,
    pub attempts: Vec<(String, String, i64)>,
    pub findings: Vec<Finding>,
}

impl Report {
    /// Attempts that came to a bad end.
    pub fn bad(&self) -> i64 {
        let bad = |state: &str| !matches!(state, "succeeded" | "given_back");
        self.attempts.iter().filter(|(_, state, _)| bad(state)).map(|(.., count)| count).sum()
    }
}

/// Goes round all programs so many times.
pub async fn run(settings: &str, rounds: usize) -> anyhow::Result<Report> {
    let ground = Ground::new(settings, 15).await?;
    // What is said by default of deliveries a second would be most of what is measured.
    ground.limit(4, 20, 20).await?;
    ground.store.remove_limit("deliveries", "storm").await?;
    let receiver = Receiver::start().await;
    let mut running: Vec<(&str, Program)> = PROGRAMS
        .iter()
        .flat_map(|(name, count)| (0..*count).map(|_| (*name, ground.start(name))))
        .collect();
    let (client, mut posted) = (Client::new(), 0);
    let began = Instant::now();
    let (mut restarts, mut met) = (0, 0);
    for _ in 0..rounds {
        for program in &mut running {
            for _ in 0..POSTED_EACH {
                let prompt = PROMPTS[posted % PROMPTS.len()];
                let webhook = Some(receiver.url());
                let post = Post { prompt, key: format!("post-{posted}"), webhook };
                client.submit(&ground.url(), KEY, &post).await;
                posted += 1;
            }
            if program.0 == "task-worker" {
                met += at_work(&ground).await;
            }
            restart(&ground, program).await?;
            restarts += 1;
        }
    }
    patience::until("all is done and told", DONE_WITHIN, async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        ground.count(UNTOLD).await == 0
    })
    .await;
    let took = began.elapsed();
    let expected = Expected { builds: i64::try_from(posted)?, tasks: None, running_most: (20, 20) };
    Ok(Report {
        restarts,
        met,
        builds: posted,
        took,
        attempts: history::attempts(&ground.pool).await?,
        findings: history::check(&ground.pool, &expected).await?,
    })
}

/// Waits a little until tasks run, and answers with how many do.
async fn at_work(ground: &Ground) -> i64 {
    for _ in 0..500 {
        let count = ground.count("select count(*) from tasks where state = 'in_progress'").await;
        if 0 < count {
            return count;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    0
}

async fn restart(ground: &Ground, running: &mut (&str, Program)) -> anyhow::Result<()> {
    let (name, told) = running;
    told.signal("TERM");
    if *name == "buildfleet-api" {
        // Two cannot listen at the same address: the next one starts when this one has ended.
        told.until_ended(ENDS_WITHIN).await;
    }
    let ended = std::mem::replace(told, ground.start(name)).ended(ENDS_WITHIN).await;
    anyhow::ensure!(ended.code() == Some(0), "{name}: {ended}");
    Ok(())
}
