//! What a kill must never leave behind, read from the tables alone. For tests.

use super::{Error, Sqlite};

impl Sqlite {
    /// Whatever in the record cannot be: what it is, and the id of the row. Empty unless a verb was
    /// done by halves.
    pub async fn contradictions(&self) -> Result<Vec<(String, String)>, Error> {
        Ok(sqlx::query_as(include_str!("sql/contradictions.sql")).fetch_all(&self.readers).await?)
    }
}
