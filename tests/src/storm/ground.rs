//! What the processes of one storm share: a Postgres, a Redis, a folder for what they say.

use std::{net::TcpListener, sync::Arc, time::Duration};

use buildfleet::{
    domain::limit::{By, Limit},
    job::Lane,
    store::{self, Store},
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;

use crate::{
    programs::{self, Program},
    servers::{Postgres, redis::Redis},
};

pub const KEY: &str = "the-key-of-a-fleet-in-a-storm";
/// A Postgres that was restarted, or a lock that a frozen process holds, takes some seconds.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Ground {
    pub folder: TempDir,
    pub postgres: Postgres,
    pub redis: Redis,
    pub database: String,
    pub listen: String,
    /// The record as the storm works at it; it belongs to no program.
    pub store: Arc<dyn Store>,
    /// The database as the checker reads it.
    pub pool: PgPool,
    /// Seconds.
    pub lease: u64,
    pub slots: u32,
    /// Settings beside those that all programs have.
    pub more: Vec<(String, String)>,
}

impl Ground {
    /// Starts the servers; `settings` are those of Postgres, which must keep what it committed when
    /// it is stopped at once.
    pub async fn new(settings: &str, lease: u64) -> anyhow::Result<Self> {
        let postgres = Postgres::with(settings);
        let database = postgres.fresh_database();
        let free = TcpListener::bind("127.0.0.1:0")?;
        Ok(Self {
            folder: tempfile::tempdir()?,
            redis: Redis::start(),
            store: store::open(&database).await?,
            pool: PgPoolOptions::new().max_connections(2).connect(&database).await?,
            listen: free.local_addr()?.to_string(),
            postgres,
            database,
            lease,
            slots: 10,
            more: Vec::new(),
        })
    }

    pub fn start(&self, program: &str) -> Program {
        let (redis, lease, slots) =
            (self.redis.url(), self.lease.to_string(), self.slots.to_string());
        let mut settings = vec![
            ("DATABASE_URL", self.database.as_str()),
            ("REDIS_URL", &redis),
            ("BUILDFLEET_API_KEY", KEY),
            ("BUILDFLEET_LISTEN", &self.listen),
            ("BUILDFLEET_LEASE_SECS", &lease),
            ("BUILDFLEET_TASK_SLOTS", &*slots),
            ("BUILDFLEET_DELIVERY_SLOTS", &*slots),
            ("BUILDFLEET_WEBHOOK_ALLOW", "loopback"),
        ];
        settings.extend(self.more.iter().map(|(name, value)| (&**name, &**value)));
        Program::start(programs::command(program, &settings), program, self.folder.path())
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// How many plans and tasks may run at once, and tasks of one tenant.
    pub async fn limit(&self, plans: u32, tasks: u32, each_tenant: u32) -> anyhow::Result<()> {
        let limit = |name: &str, lane, by, most| Limit {
            name: name.to_owned(),
            lane: Some(lane),
            by,
            value: None,
            concurrency: Some(most),
            rate: None,
        };
        for limit in [
            limit("plans", Lane::Plans, By::All, plans),
            limit("tasks", Lane::Tasks, By::All, tasks),
            limit("tasks-of-a-tenant", Lane::Tasks, By::Tenant, each_tenant),
        ] {
            self.store.put_limit(&limit, "storm").await?;
        }
        Ok(())
    }

    /// A number out of the database, however often it has to be asked.
    pub async fn count(&self, question: &'static str) -> i64 {
        crate::patience::until_some(question, PATIENCE, async || {
            sqlx::query_scalar(question).fetch_one(&self.pool).await.ok()
        })
        .await
    }
}
