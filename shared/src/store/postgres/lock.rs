//! The lock of a build: whoever changes anything of a build holds its row first.

use sqlx::{PgConnection, Row};

use super::{rows::Columns, *};
use crate::domain::{brief::OnTaskFailure, build, event::Tally};

/// A build whose row is locked until the transaction ends.
pub(super) struct Locked {
    pub id: BuildId,
    pub tenant: String,
    pub state: build::State,
    pub on_task_failure: OnTaskFailure,
    pub priority: i16,
    pub plan: Option<PlanId>,
    pub tally: Tally,
    pub attempt: u32,
    pub failures: u32,
    pub crashes: u32,
    /// Whether planning is under a lease that has lapsed.
    pub lapsed: bool,
    pub last_seq: i64,
}

/// `None` if the build is unknown.
pub(super) async fn build(conn: &mut PgConnection, id: BuildId) -> Result<Option<Locked>, Error> {
    // Rows that refer to the build may be written by others meanwhile: hence not `for update`.
    let row = sqlx::query(
        "select tenant, state, on_task_failure, priority, plan_id, tasks, completed, failed,
                skipped, cancelled, files, attempt, failures, crashes, last_seq,
                coalesce(leased_until <= clock_timestamp(), false) as lapsed
           from builds
          where id = $1
            for no key update",
    )
    .bind(id.to_string())
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Locked {
        id,
        tenant: row.try_get("tenant")?,
        state: row.word("state")?,
        on_task_failure: row.word("on_task_failure")?,
        priority: row.try_get("priority")?,
        plan: row.word_if("plan_id")?,
        tally: row.tally()?,
        attempt: row.count("attempt")?,
        failures: row.count("failures")?,
        crashes: row.count("crashes")?,
        lapsed: row.try_get("lapsed")?,
        last_seq: row.try_get("last_seq")?,
    }))
}
