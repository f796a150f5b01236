//! Builds as clients see them: read, listed.

use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{
    rows::{Columns, page, texts},
    *,
};
use crate::domain::{build, task::Phase};

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
