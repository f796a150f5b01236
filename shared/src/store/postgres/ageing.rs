//! Puts the clock of a store under test forward, by moving every instant in it back.

use sqlx::AssertSqlSafe;

use super::*;
use crate::store::conformance::Ageing;

const INSTANTS: &[(&str, &[&str])] = &[
    (
        "builds",
        &["created_at", "started_at", "settled_at", "updated_at", "due_at", "leased_until", "deadline_at"],
    ),
    ("planning_attempts", &["started_at", "settled_at"]),
    ("plans", &["created_at", "approve_until"]),
    ("tasks", &["started_at", "settled_at", "due_at", "leased_until"]),
    ("task_attempts", &["started_at", "settled_at"]),
    ("events", &["at"]),
    ("files", &["at"]),
    ("endpoints", &["created_at"]),
    ("deliveries", &["created_at", "settled_at", "due_at", "leased_until"]),
    ("delivery_attempts", &["started_at", "settled_at"]),
    ("outbox", &["due_at"]),
    ("workers", &["started_at", "beat_at"]),
];

#[async_trait]
impl Ageing for Postgres {
    async fn age(&self, by: Duration) {
        for (table, columns) in INSTANTS {
            let moved: Vec<_> = columns
                .iter()
                .map(|column| format!("{column} = {column} - make_interval(secs => $1)"))
                .collect();
            sqlx::query(AssertSqlSafe(format!("update {table} set {}", moved.join(", "))))
                .bind(secs(by))
                .execute(&self.pool)
                .await
                .expect("a store under test can be aged");
        }
    }
}
