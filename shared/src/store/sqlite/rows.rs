//! Reading columns back into words, ids, instants and JSON.
//!
//! What cannot be read is the database not answering sensibly: it was written by us and checked by
//! the schema.

use std::str::FromStr;

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row as _, sqlite::SqliteRow};

use crate::store::{At, Error};

/// A row, read by the names of its columns.
pub(super) trait Columns {
    fn text(&self, column: &str) -> Result<String, sqlx::Error>;
    fn number(&self, column: &str) -> Result<i64, sqlx::Error>;
    fn count(&self, column: &str) -> Result<u32, sqlx::Error>;
    fn at(&self, column: &str) -> Result<At, sqlx::Error>;
    fn at_if_any(&self, column: &str) -> Result<Option<At>, sqlx::Error>;
    fn word<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> Result<T, sqlx::Error>;
    fn word_if_any<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> Result<Option<T>, sqlx::Error>;
    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, sqlx::Error>;
    fn json_if_any<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, sqlx::Error>;
}

impl Columns for SqliteRow {
    fn text(&self, column: &str) -> Result<String, sqlx::Error> {
        self.try_get(column)
    }

    fn number(&self, column: &str) -> Result<i64, sqlx::Error> {
        self.try_get(column)
    }

    fn count(&self, column: &str) -> Result<u32, sqlx::Error> {
        u32::try_from(self.number(column)?).map_err(|error| unreadable(column, error))
    }

    fn at(&self, column: &str) -> Result<At, sqlx::Error> {
        self.number(column).map(At)
    }

    fn at_if_any(&self, column: &str) -> Result<Option<At>, sqlx::Error> {
        Ok(self.try_get::<Option<i64>, _>(column)?.map(At))
    }

    fn word<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> Result<T, sqlx::Error> {
        self.try_get::<&str, _>(column)?.parse().map_err(|error| unreadable(column, error))
    }

    fn word_if_any<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> Result<Option<T>, sqlx::Error> {
        self.try_get::<Option<&str>, _>(column)?
            .map(|word| word.parse().map_err(|error| unreadable(column, error)))
            .transpose()
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, sqlx::Error> {
        serde_json::from_str(self.try_get(column)?).map_err(|error| unreadable(column, error))
    }

    fn json_if_any<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, sqlx::Error> {
        self.try_get::<Option<&str>, _>(column)?
            .map(|text| serde_json::from_str(text).map_err(|error| unreadable(column, error)))
            .transpose()
    }
}

fn unreadable(column: &str, source: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) }
}

/// JSON as it is kept.
pub(super) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(Error::unavailable)
}
