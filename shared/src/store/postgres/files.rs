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

fn read(row: &PgRow) -> Result<FileView, Error> {
    Ok(FileView {
        path: row.try_get("path")?,
        size_bytes: row.size("size_bytes")?,
        sha256: row.try_get("sha256")?,
        task: row.word("task_id")?,
        at: row.try_get("at")?,
    })
}
