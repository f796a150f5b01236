//! The clock of a store under test, put forward.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::{Promise, Sqlite};
use crate::{
    job::{Job, Lane},
    store::conformance::Ageing,
};

#[async_trait]
impl Ageing for Sqlite {
    async fn age(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).expect("tests age by hours");
        let mut turn =
            self.writer.turn(Promise::OutlivesProcess).await.expect("the store under test answers");
        let tx = turn.tx();
        // The columns are found by their names, so that a migration cannot be forgotten here.
        let columns: Vec<(String, String)> = sqlx::query_as(
            "select m.name, c.name
               from sqlite_schema m join pragma_table_info(m.name) c
              where m.type = 'table'
                and m.name not like '\\_sqlx%' escape '\\'
                and (c.name = 'at' or c.name like '%\\_at' escape '\\'
                     or c.name like '%\\_until' escape '\\')",
        )
        .fetch_all(tx.db())
        .await
        .expect("the schema is readable");
        for (table, column) in columns {
            sqlx::query(AssertSqlSafe(format!("update {table} set {column} = {column} - $1")))
                .bind(by)
                .execute(tx.db())
                .await
                .expect("an instant can be moved");
        }
        turn.end(Ok(())).await.expect("the store under test answers");
    }
    async fn prefer(&self, job: Job) -> bool {
        let mut turn =
            self.writer.turn(Promise::OutlivesProcess).await.expect("the store under test answers");
        let tx = turn.tx();
        let (table, state) = match job.lane() {
            Lane::Plans => ("builds", "queued"),
            Lane::Tasks => ("tasks", "ready"),
            Lane::Deliveries => ("deliveries", "pending"),
        };
        let (id, now) = (job.to_string(), tx.now);
        let preferred = sqlx::query(AssertSqlSafe(format!(
            "update {table} set rank = -1e18, parked_on = null
              where id = $1
                and state = '{state}'
                and due_at <= $2
                and coalesce(parked_on, 'time') = 'time'"
        )))
        .bind(id)
        .bind(now)
        .execute(tx.db())
        .await
        .expect("work can be moved to the front")
        .rows_affected();
        turn.end(Ok(())).await.expect("the store under test answers");
        0 < preferred
    }
}
