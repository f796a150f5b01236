//! Builds: submitted, looked at, and given another go.

use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    Tx, events, plans, ranks,
    rows::{Columns, to_json},
};
use crate::{
    domain::{
        brief::Brief,
        build::{State, Stop, Trigger},
        event::{Event, Tally},
        id::BuildId,
        task,
    },
    job::{Job, Lane},
    store::{
        Build, BuildWebhook, BuildsWanted, Error, Idempotency, NewBuild, NewEndpoint, Page,
        Submitted,
    },
};
use secrecy::ExposeSecret;

/// Everything that `read` reads. What waits is reckoned, not counted: a plan may be large.
macro_rules! select_builds {
    ($rest:literal) => {
        concat!(include_str!("sql/select_builds.sql"), $rest)
    };
}

pub(super) async fn one(db: &mut SqliteConnection, id: BuildId) -> Result<Build, Error> {
    let row = sqlx::query(select_builds!("where b.id = $1"))
        .bind(id.to_string())
        .fetch_optional(db)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    Ok(read(&row)?)
}

pub(super) async fn page(
    db: &mut SqliteConnection,
    wanted: &BuildsWanted,
) -> Result<Page<Build>, Error> {
    let rows = sqlx::query(select_builds!(
        "where b.tenant = $1
           and b.id < coalesce($2, '~')
           and ($3 is null or b.state = $3)
           and ($4 is null or b.project_id = $4)
         order by b.id desc
         limit $5"
    ))
    .bind(&wanted.tenant)
    .bind(wanted.after.map(|id| id.to_string()))
    .bind(wanted.state.map(State::as_str))
    .bind(&wanted.project_id)
    // One more than wanted tells whether there are more.
    .bind(i64::from(wanted.limit) + 1)
    .fetch_all(db)
    .await?;
    let limit = wanted.limit as usize;
    let next = limit < rows.len();
    let rows = rows.iter().take(limit).map(read).collect::<Result<_, _>>()?;
    Ok(Page { rows, next })
}

fn read(row: &SqliteRow) -> Result<Build, sqlx::Error> {
    let tally = tally(row)?;
    let state: State = row.word("state")?;
    let [ready, in_progress] = [row.count("ready")?, row.count("in_progress")?];
    let pending = tally.tasks.saturating_sub(tally.settled() + ready + in_progress);
    let code: Option<String> = row.word_if_any("stop_code")?;
    let endpoint = row.word_if_any("endpoint_id")?;
    Ok(Build {
        id: row.word("id")?,
        tenant: row.text("tenant")?,
        brief: row.json("brief")?,
        state,
        plan: row.word_if_any("plan_id")?,
        stop: match code {
            Some(code) => Some(Stop { code, message: row.text("stop_message")? }),
            None => None,
        },
        tally,
        forked_from: row.word_if_any("forked_from")?,
        open_tasks: [pending, ready, in_progress],
        open_phase: row.word_if_any("open_phase")?,
        estimated_secs: match row.word_if_any::<crate::domain::id::PlanId>("plan_id")? {
            Some(_) => Some(row.count("estimated_secs")?),
            None => None,
        },
        webhook: match endpoint {
            Some(endpoint) => Some(BuildWebhook {
                endpoint,
                url: row.text("url")?,
                secret: row.text("secret")?.into(),
            }),
            None => None,
        },
        created_at: row.at("created_at")?,
        started_at: row.at_if_any("started_at")?,
        settled_at: row.at_if_any("settled_at")?,
        updated_at: row.at("updated_at")?,
        last_seq: row.number("last_seq")?.unsigned_abs(),
    })
}

pub(super) fn tally(row: &SqliteRow) -> Result<Tally, sqlx::Error> {
    Ok(Tally {
        tasks: row.count("tasks")?,
        completed: row.count("completed")?,
        failed: row.count("failed")?,
        skipped: row.count("skipped")?,
        cancelled: row.count("cancelled")?,
        files: row.count("files")?,
    })
}

pub(super) async fn submit(tx: &mut Tx, new: NewBuild) -> Result<Submitted, Error> {
    if let Some(given) = &new.idempotency
        && let Some(earlier) = submitted_before(tx.db(), &new.tenant, given).await?
    {
        return Ok(Submitted::Again(earlier));
    }
    let NewBuild { id, tenant, brief, idempotency, webhook } = new;
    let rank = ranks::give_one(tx, Lane::Plans, &tenant, brief.priority).await?;
    sqlx::query(
        "insert into builds
           (id, tenant, brief, priority, project_id, on_task_failure, state, idempotency_key,
            request_hash, due_at, deadline_at, created_at, updated_at, limit_key, rank,
            cache)
         values ($1, $2, $3, $4, $5, $6, 'queued', $7, $8, $9, $10, $9, $9, $11, $12, $13)",
    )
    .bind(id.to_string())
    .bind(&tenant)
    .bind(to_json(&brief)?)
    .bind(brief.priority)
    .bind(&brief.project_id)
    .bind(brief.on_task_failure.as_str())
    .bind(idempotency.as_ref().map(|given| &given.key))
    .bind(idempotency.as_ref().map(|given| &given.request_hash))
    .bind(tx.now)
    .bind(brief.deadline().map(|deadline| tx.in_future(deadline)))
    .bind(&brief.limit_key)
    .bind(rank)
    .bind(brief.cache)
    .execute(tx.db())
    .await?;
    if let Some(endpoint) = webhook {
        insert_endpoint(tx, id, &endpoint).await?;
    }
    tx.ring([Job::Plan(id)]);
    Ok(Submitted::New(one(tx.db(), id).await?))
}

/// The build that the same tenant submitted under the same key.
pub(super) async fn submitted_before(
    db: &mut SqliteConnection,
    tenant: &str,
    given: &Idempotency,
) -> Result<Option<Build>, Error> {
    let found = sqlx::query(
        "select id, request_hash from builds where tenant = $1 and idempotency_key = $2",
    )
    .bind(tenant)
    .bind(&given.key)
    .fetch_optional(&mut *db)
    .await?;
    match found {
        None => Ok(None),
        Some(row) if row.text("request_hash")? == given.request_hash => {
            one(db, row.word("id")?).await.map(Some)
        }
        Some(_) => Err(Error::conflict(
            "idempotency_key_reused",
            "the idempotency key was used for another request",
        )),
    }
}

async fn insert_endpoint(tx: &mut Tx, build: BuildId, new: &NewEndpoint) -> Result<(), Error> {
    sqlx::query(
        "insert into endpoints (id, build_id, url, secret, events, created_at)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(new.id.to_string())
    .bind(build.to_string())
    .bind(&new.url)
    .bind(new.secret.expose_secret())
    .bind(to_json(&new.events)?)
    .bind(tx.now)
    .execute(tx.db())
    .await?;
    Ok(())
}

pub(super) async fn retry(tx: &mut Tx, id: BuildId) -> Result<Build, Error> {
    let row = sqlx::query(
        "select b.state, b.brief, b.tenant, p.state = 'adopted' as planned, b.plan_id
           from builds b left join plans p on p.id = b.plan_id
          where b.id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(tx.db())
    .await?
    .ok_or_else(|| Error::not_found(id))?;
    let planned = sqlx::Row::try_get::<Option<bool>, _>(&row, "planned")?.unwrap_or(false);
    let state: State = row.word("state")?;
    let state = state
        .on(Trigger::Retried { planned })
        .map_err(|illegal| Error::conflict("build_not_retryable", illegal.to_string()))?;
    let brief: Brief = row.json("brief")?;

    let again = if planned { revive_tasks(tx, id).await? } else { 0 };
    let rank = if planned {
        None
    } else {
        tx.ring([Job::Plan(id)]);
        Some(ranks::give_one(tx, Lane::Plans, &row.text("tenant")?, brief.priority).await?)
    };
    // The deadline of the first go has done its work; the next one gets as long.
    sqlx::query(
        "update builds
            set state = $2, failures = 0, crashes = 0, stop_code = null, stop_message = null,
                due_at = iif($2 = 'queued', $3, null),
                deadline_at = coalesce($4, iif($5,
                  $3 + 1000 * (select timeout_secs from plans where id = builds.plan_id), null)),
                settled_at = null,
                plan_id = iif($5, plan_id, null), tasks = iif($5, tasks, 0),
                completed = iif($5, completed, 0), failed = 0, skipped = 0, cancelled = 0,
                rank = coalesce($6, rank), updated_at = $3
          where id = $1",
    )
    .bind(id.to_string())
    .bind(state.as_str())
    .bind(tx.now)
    .bind(brief.deadline().map(|deadline| tx.in_future(deadline)))
    .bind(planned)
    .bind(rank)
    .execute(tx.db())
    .await?;
    events::append(tx, id, &[Event::build_retried(again)]).await?;
    one(tx.db(), id).await
}

/// Puts back what was lost; answers with how many tasks run again.
async fn revive_tasks(tx: &mut Tx, id: BuildId) -> Result<u32, Error> {
    for lost in [task::State::Failed, task::State::Skipped, task::State::Cancelled] {
        lost.on(task::Trigger::Retried)?;
    }
    task::State::Pending.on(task::Trigger::DependenciesMet)?;
    let revived = sqlx::query(
        "update tasks
            set state = 'pending', failures = 0, crashes = 0, settled_at = null,
                -- Who took it out said why; that is past.
                failure = iif(
                  failure ->> 'code' in ('cancelled_by_hand', 'skipped_by_hand'), null, failure),
                waiting_on = (select count(*)
                                from dependencies d join tasks o on o.id = d.on_task_id
                               where d.task_id = tasks.id and o.state <> 'completed')
          where plan_id = (select plan_id from builds where id = $1)
            and state in ('failed', 'skipped', 'cancelled')",
    )
    .bind(id.to_string())
    .execute(tx.db())
    .await?
    .rows_affected();
    plans::release_unblocked(tx, id).await?;
    Ok(u32::try_from(revived).unwrap_or(u32::MAX))
}

/// How a build stands, for verbs that are about to move it.
pub(super) struct Standing {
    pub state: State,
    pub tally: Tally,
}

pub(super) async fn standing(tx: &mut Tx, id: BuildId) -> Result<Standing, Error> {
    let row = sqlx::query(
        "select state, tasks, completed, failed, skipped, cancelled, files
           from builds where id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(tx.db())
    .await?
    .ok_or_else(|| Error::not_found(id))?;
    Ok(Standing { state: row.word("state")?, tally: tally(&row)? })
}

/// Whether there is such a build; else `NotFound`.
pub(super) async fn must_exist(db: &mut SqliteConnection, id: BuildId) -> Result<(), Error> {
    sqlx::query("select 1 from builds where id = $1")
        .bind(id.to_string())
        .fetch_optional(db)
        .await?
        .map(|_| ())
        .ok_or_else(|| Error::not_found(id))
}
