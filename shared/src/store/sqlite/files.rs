//! The files of a build: by path, the newest content.

use sha2::{Digest, Sha256};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{Tx, builds, rows::Columns, tasks};
use crate::{
    domain::{
        attempt::Output,
        id::{BuildId, TaskId},
    },
    store::{Error, FileContent, FileView, MADE_MAX, PREREQUISITES_MAX, Prerequisite},
};

pub(super) async fn keep(
    tx: &mut Tx,
    build: BuildId,
    task: TaskId,
    output: &Output,
) -> Result<(), Error> {
    for file in &output.files {
        let content = file.content.as_bytes();
        sqlx::query(
            "insert into files (build_id, path, task_id, sha256, size_bytes, content, at)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (build_id, path) do update
                set task_id = excluded.task_id, sha256 = excluded.sha256,
                    size_bytes = excluded.size_bytes, content = excluded.content,
                    at = excluded.at",
        )
        .bind(build.to_string())
        .bind(&file.path)
        .bind(task.to_string())
        .bind(hex::encode(Sha256::digest(content)))
        .bind(i64::try_from(content.len()).map_err(Error::unavailable)?)
        .bind(content)
        .bind(tx.now)
        .execute(tx.db())
        .await?;
    }
    Ok(())
}

pub(super) async fn listing(
    db: &mut SqliteConnection,
    build: BuildId,
) -> Result<Vec<FileView>, Error> {
    let rows = sqlx::query(
        "select path, task_id, sha256, size_bytes, at from files
          where build_id = $1 order by path",
    )
    .bind(build.to_string())
    .fetch_all(&mut *db)
    .await?;
    if rows.is_empty() {
        builds::must_exist(db, build).await?;
    }
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

pub(super) async fn one(
    db: &mut SqliteConnection,
    build: BuildId,
    path: &str,
) -> Result<FileContent, Error> {
    let row = sqlx::query("select * from files where build_id = $1 and path = $2")
        .bind(build.to_string())
        .bind(path)
        .fetch_optional(db)
        .await?
        .ok_or_else(|| Error::not_found(format_args!("{path} of {build}")))?;
    Ok(read_content(&row)?)
}

pub(super) async fn contents(
    db: &mut SqliteConnection,
    build: BuildId,
) -> Result<Vec<FileContent>, Error> {
    let rows = sqlx::query("select * from files where build_id = $1 order by path")
        .bind(build.to_string())
        .fetch_all(&mut *db)
        .await?;
    if rows.is_empty() {
        builds::must_exist(db, build).await?;
    }
    Ok(rows.iter().map(read_content).collect::<Result<_, _>>()?)
}

/// What a task waits for, with references to what that made.
pub(super) async fn prerequisites(
    db: &mut SqliteConnection,
    task: TaskId,
) -> Result<Vec<Prerequisite>, Error> {
    tasks::one(db, task).await?;
    let rows = sqlx::query(
        "select o.id, o.key, o.state, o.build_id, o.writes
           from dependencies d join tasks o on o.id = d.on_task_id
          where d.task_id = $1
          order by o.place
          limit $2",
    )
    .bind(task.to_string())
    .bind(PREREQUISITES_MAX)
    .fetch_all(&mut *db)
    .await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        let made = sqlx::query(
            "select f.path, f.task_id, f.sha256, f.size_bytes, f.at
               from json_each($3) w join files f on f.build_id = $1 and f.path = w.value
              where f.task_id = $2
              order by f.path
              limit $4",
        )
        .bind(row.text("build_id")?)
        .bind(row.text("id")?)
        .bind(row.text("writes")?)
        .bind(MADE_MAX)
        .fetch_all(&mut *db)
        .await?;
        all.push(Prerequisite {
            task: row.word("id")?,
            key: row.text("key")?,
            state: row.word("state")?,
            made: made.iter().map(read).collect::<Result<_, _>>()?,
        });
    }
    Ok(all)
}

fn read(row: &SqliteRow) -> Result<FileView, sqlx::Error> {
    Ok(FileView {
        path: row.text("path")?,
        size_bytes: row.number("size_bytes")?.unsigned_abs(),
        sha256: row.text("sha256")?,
        task: row.word("task_id")?,
        at: row.at("at")?,
    })
}

fn read_content(row: &SqliteRow) -> Result<FileContent, sqlx::Error> {
    Ok(FileContent { file: read(row)?, content: row.try_get("content")? })
}
