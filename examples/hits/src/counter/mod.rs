//! The count of page loads: one number, shared by all replicas.
//!
//! Kept in PostgreSQL with a Redis cache when the app is given both, in an SQLite
//! file otherwise. Whichever it is, a load that was answered with a number has
//! been counted, and no two loads get the same number.

mod cache;
mod postgres;
mod sqlite;

use postgres::Postgres;
use sqlite::Sqlite;

use crate::settings::Store;

pub enum Counter {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

impl Counter {
    /// Opens the store. A SQLite file is made here if it is missing; a database server need not
    /// answer yet: it is connected to, and connected to again, when it is needed.
    pub async fn open(store: &Store) -> anyhow::Result<Counter> {
        Ok(match store {
            Store::Sqlite { path } => Counter::Sqlite(Sqlite::open(path.clone()).await?),
            Store::Postgres { url, redis } => {
                Counter::Postgres(Box::new(Postgres::open(url, redis.as_deref())?))
            }
        })
    }

    /// Makes sure that the table exists; any number of processes may do so at once. Answers the
    /// count so far.
    pub async fn prepare(&self) -> anyhow::Result<i64> {
        match self {
            Counter::Sqlite(sqlite) => sqlite.read().await,
            Counter::Postgres(postgres) => postgres.prepare().await,
        }
    }

    /// Counts one load and answers the new count.
    pub async fn count(&self) -> anyhow::Result<i64> {
        match self {
            Counter::Sqlite(sqlite) => sqlite.count().await,
            Counter::Postgres(postgres) => postgres.count().await,
        }
    }

    /// The count, without counting; it may be a few seconds old if a cache answers.
    pub async fn read(&self) -> anyhow::Result<i64> {
        match self {
            Counter::Sqlite(sqlite) => sqlite.read().await,
            Counter::Postgres(postgres) => postgres.read().await,
        }
    }

    /// Where the count is kept, in words fit for the page: nothing secret.
    pub fn describe(&self) -> String {
        match self {
            Counter::Sqlite(sqlite) => format!("SQLite ({})", sqlite.path().display()),
            Counter::Postgres(postgres) if postgres.has_cache() => "PostgreSQL, cached in Redis".to_owned(),
            Counter::Postgres(_) => "PostgreSQL".to_owned(),
        }
    }
}
