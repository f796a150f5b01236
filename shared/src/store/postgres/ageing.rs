//! The clock of a store under test, put forward by moving every instant in it back.

use sqlx::AssertSqlSafe;

use super::*;
use crate::store::conformance::Ageing;

#[async_trait]
impl Ageing for Postgres {
    async fn age(&self, by: Duration) {
        // The columns are found by their type, so that a migration cannot be forgotten here.
        let columns: Vec<(String, String)> = sqlx::query_as(
            "select table_name::text,
                    string_agg(
                      column_name || ' = ' || column_name || ' - make_interval(secs => $1)', ', ')
               from information_schema.columns
              where table_schema = current_schema()
                and data_type = 'timestamp with time zone'
                and table_name <> '_sqlx_migrations'
              group by table_name",
        )
        .fetch_all(&self.db.pool)
        .await
        .expect("the schema is readable");
        for (table, moved) in columns {
            sqlx::query(AssertSqlSafe(format!("update {table} set {moved}")))
                .bind(secs(by))
                .execute(&self.db.pool)
                .await
                .expect("an instant can be moved");
        }
    }

    async fn prefer(&self, job: Job) -> bool {
        let (table, ready) = match job.lane() {
            Lane::Plans => ("builds", "queued"),
            Lane::Tasks => ("tasks", "ready"),
            Lane::Deliveries => ("deliveries", "pending"),
        };
        let sql = format!(
            "update {table}
                set rank = (select coalesce(min(rank), 0) from {table}) - 1, parked_on = null
              where id = $1
                and state = '{ready}'
                and (parked_on is null or (parked_on = 'time' and due_at <= clock_timestamp()))"
        );
        let moved = sqlx::query(AssertSqlSafe(sql))
            .bind(job.to_string())
            .execute(&self.db.pool)
            .await
            .expect("a rank can be moved");
        moved.rows_affected() == 1
    }
}
