//! Connections: how many, with which settings, and to which schema.

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::queueing::Flows;
use crate::store::OpenError;

/// More would wait for each other's locks rather than for work. A server of 100 connections, which
/// is what Postgres allows unless told otherwise, serves ten programs.
const CONNECTIONS_MAX: u32 = 8;
/// Giving ranks takes a moment and waits for nobody.
const FLOW_CONNECTIONS_MAX: u32 = 2;
/// What a burst has opened is given back soon, for other programs and for people with a psql.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Milliseconds. The longest statement, adopting a plan of 100,000 tasks, takes a few seconds.
const STATEMENT_TIMEOUT: &str = "30000";
/// Milliseconds. A program that froze inside a commit must not hold a build for ever. A long plan
/// is thought about for some seconds; for claims, see `claiming.rs`.
const IDLE_TIMEOUT: &str = "15000";

/// Connects and brings the schema up to date.
pub(super) async fn open(url: &str) -> Result<(PgPool, Flows), OpenError> {
    let options = PgConnectOptions::from_str(url).map_err(OpenError::Connect)?.options([
        ("statement_timeout", STATEMENT_TIMEOUT),
        ("idle_in_transaction_session_timeout", IDLE_TIMEOUT),
        // Every statement has its index, and the tables change faster than statistics about
        // them: plans that follow the statistics fall back to reading whole tables.
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        // It would set in for the price that is put on reading a whole table, however small.
        ("jit", "off"),
    ]);
    let options = Box::pin(at_home(options)).await.map_err(OpenError::Connect)?;
    let flows = options.clone().options([("synchronous_commit", "off")]);
    let flows = Flows(
        PgPoolOptions::new()
            .max_connections(FLOW_CONNECTIONS_MAX)
            .min_connections(0)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(IDLE_CONNECTION)
            .connect_lazy_with(flows),
    );
    let pool = connect(options).await.map_err(OpenError::Connect)?;
    sqlx::migrate!("../migrations/postgres").run(&pool).await.map_err(OpenError::Migrate)?;
    Ok((pool, flows))
}

/// The same options with the schema fixed in which the tables are, or will be.
///
/// A role that is called like our schema of functions, `buildfleet`, would otherwise find that
/// schema first on its path once it is there, and its tables no more.
async fn at_home(options: PgConnectOptions) -> Result<PgConnectOptions, sqlx::Error> {
    let pool = connect(options.clone()).await?;
    let home: Option<String> = sqlx::query_scalar(
        "select quote_ident(coalesce(
           (select schema
              from unnest(current_schemas(false)) with ordinality as path (schema, place)
             where to_regclass(quote_ident(schema) || '.planning_attempts') is not null
             order by place
             limit 1),
           current_schema()))",
    )
    .fetch_one(&pool)
    .await?;
    pool.close().await;
    Ok(match home {
        Some(home) => options.options([("search_path", home)]),
        // Without any schema, the first migration says so better.
        None => options,
    })
}

async fn connect(options: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    let opened = PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_CONNECTION)
        .connect_with(options.clone())
        .await;
    match opened {
        // The pool waited for a server that is just starting, and only says that it waited; one
        // more try says for what.
        Err(sqlx::Error::PoolTimedOut) => match options.connect().await {
            Err(reason) => Err(reason),
            Ok(_) => Err(sqlx::Error::PoolTimedOut),
        },
        opened => opened,
    }
}
