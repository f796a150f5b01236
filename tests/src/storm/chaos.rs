//! Many tasks while every second a worker is killed or frozen, and Redis and Postgres are not
//! spared.

use std::{
    fmt,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};

use super::{
    faults::{Crowd, Done, Fault},
    ground::Ground,
    history::{self, Expected, Finding, Lost},
    load::Feeder,
    shapes,
    spread::Spread,
};

/// The most tasks that may run at once, of all and of one tenant.
const TASKS: u32 = 40;
const EACH_TENANT: u32 = 10;
const TENANTS: usize = 6;
const SECOND: Duration = Duration::from_secs(1);
/// At the end of the faults, for what is left.
const SECONDS_EACH_THOUSAND: u64 = 60;
const SECONDS_LEAST: u64 = 180;
/// Keeps its commits when it is stopped at once.
pub const DURABLE: &str = "-c shared_buffers=128MB";
/// Keeps them too, but not if the machine stops.
pub const HASTY: &str = "-c shared_buffers=64MB -c fsync=off -c full_page_writes=off";

#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub tasks: usize,
    pub seed: u64,
    /// Faults are done for so long, or until all is done.
    pub secs: u64,
    /// Seconds.
    pub lease: u64,
    pub workers: usize,
    /// Of Postgres.
    pub settings: &'static str,
}

/// What came of it.
pub struct Report {
    pub builds: usize,
    pub tasks: usize,
    pub took: Duration,
    pub faults: Vec<Done>,
    /// Workers that could not start, since Postgres or Redis was away just then.
    pub unstarted: usize,
    /// The longest time in which no attempt began.
    pub standstill: Duration,
    pub attempts: Vec<(String, String, i64)>,
    pub running_most: (i64, i64),
    pub findings: Vec<Finding>,
    /// From the fault until the attempt counted as lost, and with it its slots were free again.
    pub freed: Spread,
    /// From the fault until the next attempt began.
    pub again: Spread,
    /// Attempts that were lost by a process which was neither killed nor frozen: from their begin
    /// until they counted as lost. The answer of their claim was lost with Postgres.
    pub unheard: Spread,
}

impl Report {
    pub fn broken(&self) -> Vec<&Finding> {
        self.findings.iter().filter(|finding| 0 < finding.broken).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |wanted: fn(&Fault) -> bool| {
            self.faults.iter().filter(|done| wanted(&done.fault)).count()
        };
        let (secs, tasks) = (self.took.as_secs_f64(), self.tasks);
        writeln!(f, "{tasks} tasks in {} builds in {secs:.0} s", self.builds)?;
        writeln!(
            f,
            "faults: {} killed, {} frozen, Redis flushed {} and restarted {} times, Postgres {}",
            count(|fault| matches!(fault, Fault::Killed { .. })),
            count(|fault| matches!(fault, Fault::Frozen { .. })),
            count(|fault| *fault == Fault::RedisFlushed),
            count(|fault| *fault == Fault::RedisRestarted),
            count(|fault| *fault == Fault::PostgresRestarted),
        )?;
        writeln!(f, "{} workers could not start while Postgres was away", self.unstarted)?;
        writeln!(f, "the longest time without a claim: {:.1} s", self.standstill.as_secs_f64())?;
        for (of, state, count) in &self.attempts {
            writeln!(f, "attempts: {of} {state}: {count}")?;
        }
        let (all, tenant) = self.running_most;
        writeln!(
            f,
            "at once at most {all} tasks of {TASKS}, of a tenant {tenant} of {EACH_TENANT}"
        )?;
        writeln!(f, "from fault to slots free again: {}", self.freed)?;
        writeln!(f, "from fault to next attempt:     {}", self.again)?;
        writeln!(f, "claims whose answer was lost, until free again: {}", self.unheard)?;
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        Ok(())
    }
}

/// Runs it all. The seed draws the builds and the faults.
pub async fn run(wanted: Wanted) -> anyhow::Result<Report> {
    let mut ground = Ground::new(wanted.settings, wanted.lease).await?;
    ground.limit(100, TASKS, EACH_TENANT).await?;
    let mut crowd =
        Crowd::start(&ground, wanted.workers, StdRng::seed_from_u64(wanted.seed ^ 0xfa17));
    let began = Instant::now();
    let store = std::sync::Arc::clone(&ground.store);
    let feeding = async move {
        let mut dice = StdRng::seed_from_u64(wanted.seed);
        let mut feeder = Feeder::new(&*store);
        let (mut builds, mut tasks) = (0, 0);
        while tasks < wanted.tasks {
            let plan = shapes::draw(&mut dice, (wanted.tasks - tasks).max(2));
            tasks += plan.tasks.len();
            feeder.feed(&format!("tenant-{}", builds % TENANTS), plan).await?;
            builds += 1;
        }
        Ok::<_, anyhow::Error>((builds, tasks))
    };
    let mut feeding = std::pin::pin!(feeding);
    let mut fed = None;
    let (calm_after, mut told) = (Duration::from_secs(wanted.secs), Instant::now());
    while began.elapsed() < calm_after {
        if fed.is_some() {
            crowd.second(&mut ground).await;
        } else {
            let (done, ()) = tokio::join!(
                async { tokio::time::timeout(SECOND, &mut feeding).await.ok() },
                crowd.second(&mut ground),
            );
            fed = done.transpose()?;
        }
        if fed.is_some() && ground.count(OPEN).await == 0 {
            break;
        }
        if Duration::from_secs(10) < told.elapsed() {
            told = Instant::now();
            let done =
                ground.count("select count(*) from tasks where settled_at is not null").await;
            eprintln!("{:>5} s: {done} tasks done", began.elapsed().as_secs());
        }
    }
    crowd.calm();
    let faults = crowd.done.clone();
    tokio::time::sleep(SECOND).await;
    crowd.complete(&ground);
    let (builds, tasks) = match fed {
        Some(fed) => fed,
        None => feeding.await?,
    };
    let left = (tasks as u64 * SECONDS_EACH_THOUSAND / 1000).max(SECONDS_LEAST);
    crate::patience::until("all builds are at their end", Duration::from_secs(left), async || {
        tokio::time::sleep(SECOND).await;
        crowd.complete(&ground);
        ground.count(OPEN).await == 0
    })
    .await;
    let took = began.elapsed();
    let lost = history::lost(&ground.pool).await?;
    let unstarted = crowd.unstarted;
    crowd.disband().await;
    let expected = Expected {
        builds: i64::try_from(builds)?,
        tasks: Some(i64::try_from(tasks)?),
        running_most: (i64::from(TASKS), i64::from(EACH_TENANT)),
    };
    let TakeOver { freed, again, unheard } = take_over(&lost, &faults);
    Ok(Report {
        builds,
        tasks,
        took,
        attempts: history::attempts(&ground.pool).await?,
        running_most: history::running_most(&ground.pool).await?,
        findings: history::check(&ground.pool, &expected).await?,
        faults,
        unstarted,
        standstill: history::standstill(&ground.pool).await?,
        freed,
        again,
        unheard,
    })
}

const OPEN: &str = "select count(*) from builds where settled_at is null";

struct TakeOver {
    freed: Spread,
    again: Spread,
    unheard: Spread,
}

/// Puts what was lost beside the fault that caused it.
fn take_over(lost: &[Lost], faults: &[Done]) -> TakeOver {
    let (mut freed, mut again, mut unheard) = (Vec::new(), Vec::new(), Vec::new());
    let millis = |from: i64, to: i64| (to - from) as f64 / 1000.0;
    for one in lost {
        let of_it = |done: &&Done| {
            let process = match done.fault {
                Fault::Killed { process } | Fault::Frozen { process } => process,
                _ => return false,
            };
            let name = format!("storm-worker-{process}");
            done.at <= one.settled_at && one.program.as_deref() == Some(name.as_str())
        };
        match faults.iter().rfind(of_it) {
            Some(fault) => {
                // A claim may be committed for a process that is no more.
                let from = fault.at.max(one.started_at);
                freed.push(millis(from, one.settled_at));
                again.extend(one.again_at.map(|at| millis(from, at)));
            }
            None => unheard.push(millis(one.started_at, one.settled_at)),
        }
    }
    TakeOver { freed: Spread::of(freed), again: Spread::of(again), unheard: Spread::of(unheard) }
}
