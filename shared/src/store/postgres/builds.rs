//! Builds as clients see them: kept, read, listed.

use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{
    rows::{Columns, document, page, texts},
    *,
};
use crate::domain::{build, task::Phase};

pub(super) async fn submit(db: &Db, new: &NewBuild) -> Result<Submitted, Error> {
    let mut tx = db.pool.begin().await?;
    let id = new.id.to_string();
    let priority = new.brief.priority.into();
    let flow = queueing::Flow { tenant: new.tenant.clone(), priority };
    let rank = db.flows.rank_of_one(Lane::Plans, flow).await?;
    let inserted = sqlx::query(include_str!("sql/insert_build.sql"))
        .bind(&id)
        .bind(&new.tenant)
        .bind(document(&new.brief)?)
        .bind(i16::from(new.brief.priority))
        .bind(&new.brief.project_id)
        .bind(new.brief.on_task_failure.as_str())
        .bind(build::State::Queued.as_str())
        .bind(new.idempotency.as_ref().map(|idempotency| &idempotency.key))
        .bind(new.idempotency.as_ref().map(|idempotency| &idempotency.request_hash))
        .bind(new.brief.deadline().map(secs))
        .bind(&new.brief.limit_key)
        .bind(rank)
        .bind(new.brief.cache)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    if inserted == 0 {
        let earlier = match &new.idempotency {
            Some(idempotency) => submitted_before(&mut tx, &new.tenant, idempotency).await?,
            None => None,
        };
        return earlier.map(Submitted::Again).ok_or_else(|| Error::not_found(new.id));
    }
    if let Some(endpoint) = &new.webhook {
        sqlx::query(
            "insert into endpoints (id, build_id, url, secret, events)
             values ($1, $2, $3, $4, $5::json)",
        )
        .bind(endpoint.id.to_string())
        .bind(&id)
        .bind(&endpoint.url)
        .bind(endpoint.secret.expose_secret())
        .bind(document(&endpoint.events)?)
        .execute(&mut *tx)
        .await?;
    }
    let build = view(&mut tx, new.id).await?;
    tx.commit().await?;
    Ok(Submitted::New(build))
}

/// The build that a key stands for, if the tenant has used it.
pub(super) async fn submitted_before(
    conn: &mut PgConnection,
    tenant: &str,
    idempotency: &Idempotency,
) -> Result<Option<Build>, Error> {
    let found = sqlx::query(
        "select id, request_hash from builds where tenant = $1 and idempotency_key = $2",
    )
    .bind(tenant)
    .bind(&idempotency.key)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = found else { return Ok(None) };
    if row.try_get::<Option<&str>, _>("request_hash")? != Some(&*idempotency.request_hash) {
        return Err(Error::conflict(
            "idempotency_key_reused",
            "this idempotency key was used for another request",
        ));
    }
    view(conn, row.word("id")?).await.map(Some)
}

/// What every reading of builds begins with. `$1` are the words of `Phase`, in order.
const VIEW: &str = include_str!("sql/view_builds.sql");

pub(super) async fn view(conn: &mut PgConnection, id: BuildId) -> Result<Build, Error> {
    // Both halves are constants of this file.
    let row = sqlx::query(AssertSqlSafe(format!("{VIEW} where b.id = $2")))
        .bind(texts(Phase::ALL))
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?
        .ok_or_else(|| Error::not_found(id))?;
    read(&row)
}

pub(super) async fn list(pool: &PgPool, wanted: &BuildsWanted) -> Result<Page<Build>, Error> {
    const CLAUSES: &str = "where b.tenant = $2
        and ($3::text is null or b.state = $3)
        and ($4::text is null or b.project_id = $4)
        and ($5::text is null or b.id < $5)
      order by b.id desc limit $6";
    let rows = sqlx::query(AssertSqlSafe(format!("{VIEW} {CLAUSES}")))
        .bind(texts(Phase::ALL))
        .bind(&wanted.tenant)
        .bind(wanted.state.map(build::State::as_str))
        .bind(&wanted.project_id)
        .bind(wanted.after.map(|id| id.to_string()))
        .bind(i64::from(wanted.limit) + 1)
        .fetch_all(pool)
        .await?;
    let rows = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(page(rows, wanted.limit))
}

/// Whether a build is known, for listings of what belongs to it.
pub(super) async fn expect(pool: &PgPool, id: BuildId) -> Result<(), Error> {
    sqlx::query("select 1 from builds where id = $1")
        .bind(id.to_string())
        .fetch_optional(pool)
        .await?
        .map(drop)
        .ok_or_else(|| Error::not_found(id))
}

fn read(row: &PgRow) -> Result<Build, Error> {
    let webhook = match row.word_if("endpoint")? {
        Some(endpoint) => Some(BuildWebhook {
            endpoint,
            url: row.try_get("url")?,
            secret: row.try_get::<String, _>("secret")?.into(),
        }),
        None => None,
    };
    let stop = match row.try_get::<Option<String>, _>("stop_code")? {
        Some(code) => Some(build::Stop { code, message: row.try_get("stop_message")? }),
        None => None,
    };
    let phase: Option<i32> = row.try_get("open_phase")?;
    Ok(Build {
        id: row.word("id")?,
        tenant: row.try_get("tenant")?,
        brief: row.json("brief")?,
        state: row.word("state")?,
        plan: row.word_if("plan_id")?,
        stop,
        forked_from: row.word_if("forked_from")?,
        tally: row.tally()?,
        open_tasks: [
            row.count("open_pending")?,
            row.count("open_ready")?,
            row.count("open_in_progress")?,
        ],
        open_phase: phase
            .and_then(|place| Phase::ALL.get(usize::try_from(place).ok()?.checked_sub(1)?))
            .copied(),
        estimated_secs: match row.try_get::<Option<i32>, _>("estimated_secs")? {
            Some(_) => Some(row.count("estimated_secs")?),
            None => None,
        },
        webhook,
        created_at: row.try_get("created_at")?,
        started_at: row.try_get("started_at")?,
        settled_at: row.try_get("settled_at")?,
        updated_at: row.try_get("updated_at")?,
        last_seq: row.size("last_seq")?,
    })
}
