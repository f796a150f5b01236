//! From columns to values: words, counts, documents and instants.

use std::{error::Error as StdError, str::FromStr};

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{
    Decode, Row, Type, TypeInfo,
    error::BoxDynError,
    postgres::{PgRow, PgTypeInfo, PgValueFormat, PgValueRef},
    types::Json,
};

use super::*;
use crate::domain::event::Tally;

/// Reads a column as what it means. A column that means nothing is an error of the database's.
pub(super) trait Columns {
    fn word<T: FromStr<Err: StdError + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> Result<T, sqlx::Error>;
    fn word_if<T: FromStr<Err: StdError + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> Result<Option<T>, sqlx::Error>;
    fn count(&self, column: &str) -> Result<u32, sqlx::Error>;
    fn size(&self, column: &str) -> Result<u64, sqlx::Error>;
    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, sqlx::Error>;
    fn json_if<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, sqlx::Error>;
    fn tally(&self) -> Result<Tally, sqlx::Error>;
}

fn misread(column: &str, source: impl StdError + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) }
}

impl Columns for PgRow {
    fn word<T: FromStr<Err: StdError + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> Result<T, sqlx::Error> {
        self.try_get::<&str, _>(column)?.parse().map_err(|error| misread(column, error))
    }

    fn word_if<T: FromStr<Err: StdError + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> Result<Option<T>, sqlx::Error> {
        self.try_get::<Option<&str>, _>(column)?
            .map(str::parse)
            .transpose()
            .map_err(|error| misread(column, error))
    }

    fn count(&self, column: &str) -> Result<u32, sqlx::Error> {
        self.try_get::<i32, _>(column)?.try_into().map_err(|error| misread(column, error))
    }

    fn size(&self, column: &str) -> Result<u64, sqlx::Error> {
        self.try_get::<i64, _>(column)?.try_into().map_err(|error| misread(column, error))
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, sqlx::Error> {
        Ok(self.try_get::<Json<T>, _>(column)?.0)
    }

    fn json_if<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, sqlx::Error> {
        Ok(self.try_get::<Option<Json<T>>, _>(column)?.map(|json| json.0))
    }

    fn tally(&self) -> Result<Tally, sqlx::Error> {
        Ok(Tally {
            tasks: self.count("tasks")?,
            completed: self.count("completed")?,
            failed: self.count("failed")?,
            skipped: self.count("skipped")?,
            cancelled: self.count("cancelled")?,
            files: self.count("files")?,
        })
    }
}

/// A document, to be bound to `$n::json`: as text it reaches a `json` column as it was written.
pub(super) fn document(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(Error::unavailable)
}

/// A number for an `integer` column. What does not fit was never counted by us.
pub(super) fn int(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

pub(super) fn texts<T: ToString>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    values.into_iter().map(|value| value.to_string()).collect()
}

/// Takes a row more than wanted off a listing: it says that there is a next page.
pub(super) fn page<T>(mut rows: Vec<T>, limit: u32) -> Page<T> {
    let limit = limit as usize;
    let next = limit < rows.len();
    rows.truncate(limit);
    Page { rows, next }
}

impl Type<sqlx::Postgres> for At {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("timestamptz")
    }

    fn compatible(column: &PgTypeInfo) -> bool {
        column.name().eq_ignore_ascii_case("timestamptz")
    }
}

impl Decode<'_, sqlx::Postgres> for At {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        /// Microseconds from 1970 to 2000, where Postgres begins to count.
        const EPOCH: i64 = 946_684_800_000_000;

        if value.format() != PgValueFormat::Binary {
            return Err("an instant came as text".into());
        }
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        Ok(At(micros.saturating_add(EPOCH).div_euclid(1000)))
    }
}
