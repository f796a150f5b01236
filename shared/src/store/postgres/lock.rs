//! The locks of builds: whoever changes anything of a build holds its row first.
//!
//! Many are locked in the order of their ids. What a commit changes of a build is changed here in
//! memory, and written once by `save`.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{
    rows::{Columns, int, texts},
    *,
};
use crate::domain::{
    brief::OnTaskFailure,
    build::{self, Stop},
    event::Tally,
};

/// A build whose row is locked until the transaction ends.
#[derive(Debug, Clone)]
pub(super) struct Locked {
    pub id: BuildId,
    pub tenant: String,
    pub state: build::State,
    pub stop: Option<Stop>,
    pub on_task_failure: OnTaskFailure,
    pub priority: i16,
    pub limit_key: Option<String>,
    pub plan: Option<PlanId>,
    pub tally: Tally,
    pub attempt: u32,
    pub failures: u32,
    pub crashes: u32,
    /// Whether planning is under a lease that has lapsed.
    pub lapsed: bool,
    pub last_seq: i64,
    /// Whether an endpoint hears of it.
    pub is_heard: bool,
}

impl Locked {
    pub fn flow(&self) -> queueing::Flow {
        queueing::Flow { tenant: self.tenant.clone(), priority: self.priority }
    }
}

/// What to do about a build that somebody else has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contended {
    Wait,
    Skip,
}

const VIEW: &str = "select id, tenant, state, stop_code, stop_message, on_task_failure, priority,
       limit_key, plan_id, tasks, completed, failed, skipped, cancelled, files, attempt, failures,
       crashes, last_seq,
       coalesce(leased_until <= clock_timestamp(), false) as lapsed,
       exists (select 1 from endpoints e where e.build_id = b.id)
       or exists (
         select 1 from endpoints e where e.tenant = b.tenant and e.build_id is null
       ) as is_heard
  from builds b
 where id = any($1)
 order by id";

/// `None` if the build is unknown.
pub(super) async fn build(conn: &mut PgConnection, id: BuildId) -> Result<Option<Locked>, Error> {
    Ok(builds(conn, &[id], Contended::Wait).await?.remove(&id))
}

/// The build of a task.
pub(super) async fn build_of(conn: &mut PgConnection, task: TaskId) -> Result<Locked, Error> {
    let row = sqlx::query("select build_id from tasks where id = $1")
        .bind(task.to_string())
        .fetch_optional(&mut *conn)
        .await?
        .ok_or_else(|| Error::not_found(task))?;
    build(conn, row.word("build_id")?).await?.ok_or_else(|| Error::not_found(task))
}

/// Those that are known, and not locked by others if these are to be skipped.
pub(super) async fn builds(
    conn: &mut PgConnection,
    ids: &[BuildId],
    contended: Contended,
) -> Result<BTreeMap<BuildId, Locked>, Error> {
    // Rows that refer to the build may be written by others meanwhile: hence not `for update`.
    let sql = match contended {
        Contended::Wait => format!("{VIEW} for no key update of b"),
        Contended::Skip => format!("{VIEW} for no key update of b skip locked"),
    };
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(texts(ids)).fetch_all(conn).await?;
    rows.iter().map(|row| read(row).map(|build| (build.id, build))).collect()
}

fn read(row: &PgRow) -> Result<Locked, Error> {
    let stop = match row.try_get::<Option<String>, _>("stop_code")? {
        Some(code) => Some(Stop { code, message: row.try_get("stop_message")? }),
        None => None,
    };
    Ok(Locked {
        id: row.word("id")?,
        tenant: row.try_get("tenant")?,
        state: row.word("state")?,
        stop,
        on_task_failure: row.word("on_task_failure")?,
        priority: row.try_get("priority")?,
        limit_key: row.try_get("limit_key")?,
        plan: row.word_if("plan_id")?,
        tally: row.tally()?,
        attempt: row.count("attempt")?,
        failures: row.count("failures")?,
        crashes: row.count("crashes")?,
        lapsed: row.try_get("lapsed")?,
        last_seq: row.try_get("last_seq")?,
        is_heard: row.try_get("is_heard")?,
    })
}

/// A pause ends with its build.
pub(super) async fn forget_pauses(
    conn: &mut PgConnection,
    ended: impl Iterator<Item = BuildId>,
) -> Result<(), Error> {
    let gates = texts(ended.map(Gate::Build));
    if !gates.is_empty() {
        sqlx::query("delete from pauses where gate = any($1)").bind(gates).execute(conn).await?;
    }
    Ok(())
}

/// Writes how builds stand after their tasks or their log moved on: all that settling changes.
pub(super) async fn save<'a>(
    conn: &mut PgConnection,
    builds: impl Iterator<Item = &'a Locked> + Clone,
) -> Result<(), Error> {
    let count = |of: fn(&Tally) -> u32| builds.clone().map(|build| int(of(&build.tally))).collect();
    let completed: Vec<i32> = count(|tally| tally.completed);
    let failed: Vec<i32> = count(|tally| tally.failed);
    let skipped: Vec<i32> = count(|tally| tally.skipped);
    let cancelled: Vec<i32> = count(|tally| tally.cancelled);
    let files: Vec<i32> = count(|tally| tally.files);
    let stops = builds.clone().map(|build| build.stop.as_ref());
    sqlx::query(include_str!("sql/save_builds.sql"))
        .bind(texts(builds.clone().map(|build| build.id)))
        .bind(texts(builds.clone().map(|build| build.state)))
        .bind(stops.clone().map(|stop| stop.map(|stop| &*stop.code)).collect::<Vec<_>>())
        .bind(stops.map(|stop| stop.map(|stop| &*stop.message)).collect::<Vec<_>>())
        .bind(builds.clone().map(|build| build.state.is_final()).collect::<Vec<_>>())
        .bind(completed)
        .bind(failed)
        .bind(skipped)
        .bind(cancelled)
        .bind(files)
        .bind(builds.clone().map(|build| build.last_seq).collect::<Vec<_>>())
        .execute(&mut *conn)
        .await?;
    let ended = builds.filter(|build| build.state.is_final());
    forget_pauses(conn, ended.map(|build| build.id)).await
}
