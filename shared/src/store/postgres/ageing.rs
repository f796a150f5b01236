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
        .fetch_all(&self.pool)
        .await
        .expect("the schema is readable");
        for (table, moved) in columns {
            sqlx::query(AssertSqlSafe(format!("update {table} set {moved}")))
                .bind(secs(by))
                .execute(&self.pool)
                .await
                .expect("an instant can be moved");
        }
    }
}
