//! What a build has written so far. See `settling.rs` for how files are kept.

use sqlx::{Row, postgres::PgRow};

use super::{rows::Columns, *};

pub(super) async fn list(pool: &PgPool, build: BuildId) -> Result<Vec<FileView>, Error> {
    let rows = sqlx::query(
        "select path, size_bytes, sha256, task_id, at from files where build_id = $1 order by path",
    )
    .bind(build.to_string())
    .fetch_all(pool)
    .await?;
    if rows.is_empty() {
        builds::expect(pool, build).await?;
    }
    rows.iter().map(read).collect()
}

pub(super) async fn content(
    pool: &PgPool,
    build: BuildId,
    path: &str,
) -> Result<FileContent, Error> {
    let not_found = || Error::not_found(format_args!("the file {path:?} of {build}"));
    // Postgres takes this character in no text, so no file has such a path.
    if path.contains('\0') {
        return Err(not_found());
    }
    let row = sqlx::query("select * from files where build_id = $1 and path = $2")
        .bind(build.to_string())
        .bind(path)
        .fetch_optional(pool)
        .await?
        .ok_or_else(not_found)?;
    Ok(FileContent { file: read(&row)?, content: row.try_get("content")? })
}

pub(super) async fn contents(pool: &PgPool, build: BuildId) -> Result<Vec<FileContent>, Error> {
    let rows = sqlx::query("select * from files where build_id = $1 order by path")
        .bind(build.to_string())
        .fetch_all(pool)
        .await?;
    if rows.is_empty() {
        builds::expect(pool, build).await?;
    }
    rows.iter()
        .map(|row| Ok(FileContent { file: read(row)?, content: row.try_get("content")? }))
        .collect()
}

/// What a task waits for, with references to what that made.
pub(super) async fn prerequisites(pool: &PgPool, task: TaskId) -> Result<Vec<Prerequisite>, Error> {
    let rows = sqlx::query(include_str!("sql/prerequisites.sql"))
        .bind(task.to_string())
        .bind(i64::from(PREREQUISITES_MAX))
        .bind(i64::from(MADE_MAX))
        .fetch_all(pool)
        .await?;
    if rows.is_empty() {
        tasks::view(&mut *pool.acquire().await?, task).await?;
    }
    let mut all: Vec<Prerequisite> = Vec::new();
    for row in &rows {
        let on = row.word("on_task_id")?;
        if all.last().is_none_or(|last| last.task != on) {
            let (key, state) = (row.try_get("key")?, row.word("state")?);
            all.push(Prerequisite { task: on, key, state, made: Vec::new() });
        }
        if let (Some(last), Some(_)) = (all.last_mut(), row.try_get::<Option<&str>, _>("path")?) {
            last.made.push(read(row)?);
        }
    }
    Ok(all)
}

fn read(row: &PgRow) -> Result<FileView, Error> {
    Ok(FileView {
        path: row.try_get("path")?,
        size_bytes: row.size("size_bytes")?,
        sha256: row.try_get("sha256")?,
        task: row.word("task_id")?,
        at: row.try_get("at")?,
    })
}
