//! What follows when an attempt at a task did not succeed, and what is lost with the task if it was
//! the last.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row};

use super::{
    lock::Locked,
    queueing::Flows,
    releasing::Dependents,
    rows::{Columns, document, int, texts},
    settling::{self, Rang, Running, read_ref},
    *,
};
use crate::domain::{
    attempt::{self, FailureKind},
    event::TaskRef,
    retry::Verdict,
    settle::{Open, Progress, Settlement, halts},
    task,
};

/// Settles an attempt that was not a success; answers with the tasks that are lost with its own.
pub(super) async fn settle(
    conn: &mut PgConnection,
    flows: &Flows,
    build: &mut Locked,
    running: &Running,
    ended: &Ended,
    rang: &mut Rang,
) -> Result<Vec<TaskId>, Error> {
    let mut progress = settling::progress(build, running);
    let mut dependents = Dependents::default();
    if let Outcome::Failed(failure) = &ended.outcome
        && gives_up(running, failure, ended)
    {
        dependents = read(conn, &mut progress, true).await?;
    }
    let settlement = progress.settle(ended.outcome.clone(), &ended.policy, ended.jitter)?;
    let id = running.named.id;
    write_task(conn, id, running.attempt, &settlement).await?;
    if settlement.due_in == Some(Duration::ZERO) {
        rang.claimable.push(Job::Task(id));
    }
    let lost = [settlement.skipped.as_slice(), &settlement.cancelled].concat();
    write_rest(conn, flows, build, &mut dependents, settlement, rang).await?;
    Ok(lost)
}

/// A person takes a task out.
pub(super) async fn end_by_hand(
    db: &Db,
    id: TaskId,
    how: ByHand,
    reason: &str,
) -> Result<Task, Error> {
    let mut tx = db.pool.begin().await?;
    let mut build = lock::build_of(&mut tx, id).await?;
    let task = tasks::view(&mut tx, id).await?;
    let ended = match how {
        ByHand::Cancel => task::State::Cancelled,
        ByHand::Skip => task::State::Skipped,
    };
    if task.state == ended {
        return Ok(task);
    }
    if task.state.is_final() {
        let reason = format!("the task is {} already", task.state);
        return Err(Error::conflict("task_is_final", reason));
    }
    growing::running_plan(&build)?;
    let mut progress = Progress {
        build: build.state,
        on_task_failure: build.on_task_failure,
        tally: build.tally,
        task: TaskRef { id, name: task.name },
        attempt: task.attempt,
        failures: task.failures,
        crashes: task.crashes,
        dependents: Vec::new(),
        others: Vec::new(),
        added: None,
    };
    let mut dependents = read(&mut tx, &mut progress, false).await?;
    let settlement = progress.end_by_hand(task.state, how, reason)?;
    let mut rang = Rang::default();
    rang.left_by(end_tasks(&mut tx, &[id], settlement.task).await?, &build);
    sqlx::query("update tasks set failure = $2::json where id = $1")
        .bind(id.to_string())
        .bind(settlement.failure.as_ref().map(document).transpose()?)
        .execute(&mut *tx)
        .await?;
    write_rest(&mut tx, &db.flows, &mut build, &mut dependents, settlement, &mut rang).await?;
    let lanes = claiming::parked_lanes(&mut tx, Lane::Tasks).await?;
    rang.claimable.extend(claiming::wake_ups(&lanes));
    let view = tasks::view(&mut tx, id).await?;
    let marked = closing::mark(&mut tx, &rang.left).await?;
    tx.commit().await?;
    db.bell.ring(rang.claimable);
    db.bell.recall(build.id);
    marked.close_up(db).await;
    Ok(view)
}

/// Reads who waits for a task that may be lost, and all that is open if its build stops then.
pub(super) async fn read(
    conn: &mut PgConnection,
    progress: &mut Progress,
    failed: bool,
) -> Result<Dependents, Error> {
    let id = progress.task.id.to_string();
    let mut dependents = Dependents::default();
    let query = sqlx::query(include_str!("sql/lost_with.sql")).bind(&id);
    dependents.extend(&query.fetch_all(&mut *conn).await?)?;
    progress.dependents = dependents.all();
    if halts(progress.on_task_failure, failed, &progress.dependents) {
        let query = sqlx::query(include_str!("sql/clean_up.sql")).bind(&id);
        dependents.extend(&query.fetch_all(&mut *conn).await?)?;
        progress.dependents = dependents.all();
        let rows = sqlx::query(include_str!("sql/others.sql")).bind(&id).fetch_all(conn).await?;
        for row in &rows {
            progress.others.push(Open {
                task: read_ref(row)?,
                state: row.word("state")?,
                cleans_up: row.try_get("cleans_up")?,
            });
        }
    }
    Ok(dependents)
}

/// Writes what a settlement says of others than the task itself, and of the build.
pub(super) async fn write_rest(
    conn: &mut PgConnection,
    flows: &Flows,
    build: &mut Locked,
    dependents: &mut Dependents,
    settlement: Settlement,
    rang: &mut Rang,
) -> Result<(), Error> {
    settling::move_on(build, &settlement);
    dependents.advance(&settlement);
    end_tasks(conn, &settlement.skipped, task::State::Skipped).await?;
    rang.left_by(end_tasks(conn, &settlement.cancelled, task::State::Cancelled).await?, build);
    let mut logs = [(&mut *build, settlement.events.as_slice())];
    rang.claimable.extend(events::append_each(conn, flows, &mut logs).await?);
    lock::save(conn, std::iter::once(&*build)).await?;
    let builds = BTreeMap::from([(build.id, build.clone())]);
    releasing::advance(conn, flows, &builds, dependents).await?;
    rang.claimable.extend(settlement.released.iter().copied().map(Job::Task));
    if !settlement.cancelled.is_empty() {
        rang.recalled.push(build.id);
    }
    Ok(())
}

/// Whether the domain will ask for those who depend on the task; asks the same law as it does.
fn gives_up(running: &Running, failure: &Failure, ended: &Ended) -> bool {
    let (failures, crashes) = match failure.kind {
        FailureKind::Lost => (0, 1),
        FailureKind::Transient | FailureKind::Permanent => (1, 0),
    };
    let (failures, crashes) = (running.failures + failures, running.crashes + crashes);
    ended.policy.judge(failure.kind, failures, crashes, ended.jitter) == Verdict::GiveUp
}

async fn write_task(
    conn: &mut PgConnection,
    id: TaskId,
    attempt: u32,
    settlement: &Settlement,
) -> Result<(), Error> {
    let written = sqlx::query(include_str!("sql/settle_task.sql"))
        .bind(id.to_string())
        .bind(int(attempt))
        .bind(settlement.task.as_str())
        .bind(settlement.due_in.map(secs))
        .bind(int(settlement.failures))
        .bind(int(settlement.crashes))
        .bind(settlement.failure.as_ref().map(document).transpose()?)
        .bind(settlement.task.is_final())
        .bind(settlement.attempt.as_str())
        .execute(conn)
        .await?
        .rows_affected();
    if written == 0 { Err(Error::Fenced) } else { Ok(()) }
}

/// Ends tasks that are not final, and with them the attempts that run. Answers with whether any was
/// ready.
pub(super) async fn end_tasks(
    conn: &mut PgConnection,
    ids: &[TaskId],
    state: task::State,
) -> Result<bool, Error> {
    if ids.is_empty() {
        return Ok(false);
    }
    let ids = texts(ids);
    end_attempts(conn, &ids).await?;
    let were_ready = sqlx::query_scalar(
        "with open as (
           -- As they are before the update.
           select id, state from tasks where id = any($1)
         ), ended as (
           update tasks
              set state = $2, due_at = null, parked_on = null, holder = null, leased_until = null,
                  begun_at = null, settled_at = clock_timestamp()
            where id = any($1)
         )
         select coalesce(bool_or(state = 'ready'), false) from open",
    )
    .bind(&ids)
    .bind(state.as_str())
    .fetch_one(conn)
    .await?;
    Ok(were_ready)
}

/// Cancels the attempts that run at any of these tasks, which are about to end.
async fn end_attempts(conn: &mut PgConnection, tasks: &[String]) -> Result<(), Error> {
    sqlx::query(
        "insert into task_attempts (task_id, number, holder, state, started_at, settled_at)
         select id, attempt, holder, $2, begun_at, clock_timestamp()
           from tasks
          where id = any($1) and state is not distinct from 'in_progress'",
    )
    .bind(tasks)
    .bind(attempt::State::Running.on(attempt::Trigger::Cancelled)?.as_str())
    .execute(conn)
    .await?;
    Ok(())
}
