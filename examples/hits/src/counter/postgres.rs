//! The count in PostgreSQL, with an optional Redis cache in front of reads.
//!
//! One connection carries all requests, pipelined; when it is lost, the next
//! request makes a new one. A load whose connection broke under it is answered
//! with an error and never sent again: the database may have counted it already.

use std::time::Duration;

use anyhow::Context;
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, NoTls};
use tokio_util::task::AbortOnDropHandle;

use super::cache::Cache;

/// How long connecting, and one query, may take.
const CONNECT: Duration = Duration::from_secs(3);
const QUERY: Duration = Duration::from_secs(5);

/// `CREATE TABLE IF NOT EXISTS` fails when two sessions run it at the same moment; the lock, held
/// to the end of the transaction, makes them take turns. The number is arbitrary but fixed.
const SCHEMA: &str = "BEGIN;
    SELECT pg_advisory_xact_lock(4841540001);
    CREATE TABLE IF NOT EXISTS hits (id integer PRIMARY KEY CHECK (id = 1), count bigint NOT NULL);
    INSERT INTO hits (id, count) VALUES (1, 0) ON CONFLICT (id) DO NOTHING;
    COMMIT;";
const COUNT: &str = "UPDATE hits SET count = count + 1 WHERE id = 1 RETURNING count";
const READ: &str = "SELECT count FROM hits WHERE id = 1";

pub struct Postgres {
    config: Config,
    cache: Option<Cache>,
    session: Mutex<Option<Session>>,
}

/// A connection that has made sure of the table.
#[derive(Clone)]
struct Session {
    client: std::sync::Arc<Client>,
    /// Drives the connection; ends with the last clone.
    _driver: std::sync::Arc<AbortOnDropHandle<()>>,
}

impl Postgres {
    pub fn open(url: &str, redis: Option<&str>) -> anyhow::Result<Postgres> {
        // The cause may quote the address, and with it the password: it is left out.
        let mut config: Config = url.parse().ok().context(
            "DATABASE_URL cannot be read; it looks like postgres://user:password@host:5432/database",
        )?;
        config.connect_timeout(CONNECT).application_name("hits");
        let cache = redis.map(Cache::open).transpose()?;
        Ok(Postgres { config, cache, session: Mutex::new(None) })
    }

    pub fn has_cache(&self) -> bool {
        self.cache.is_some()
    }

    pub async fn prepare(&self) -> anyhow::Result<i64> {
        self.query(READ).await
    }

    pub async fn count(&self) -> anyhow::Result<i64> {
        let count = self.query(COUNT).await?;
        if let Some(cache) = &self.cache {
            cache.raise(count).await;
        }
        Ok(count)
    }

    pub async fn read(&self) -> anyhow::Result<i64> {
        if let Some(cache) = &self.cache
            && let Some(count) = cache.get().await
        {
            return Ok(count);
        }
        let count = self.query(READ).await?;
        if let Some(cache) = &self.cache {
            cache.raise(count).await;
        }
        Ok(count)
    }

    async fn query(&self, statement: &str) -> anyhow::Result<i64> {
        let work = async {
            let session = self.session().await?;
            let row = session.client.query_one(statement, &[]).await.context("asking PostgreSQL")?;
            row.try_get(0).context("reading the count from PostgreSQL")
        };
        tokio::time::timeout(QUERY, work).await.context("PostgreSQL took too long to answer")?
    }

    /// The living session; requests that find it lost wait here for one of them to make another.
    async fn session(&self) -> anyhow::Result<Session> {
        let mut slot = self.session.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| !session.client.is_closed()) {
            return Ok(session.clone());
        }
        let session = connect(&self.config).await?;
        *slot = Some(session.clone());
        Ok(session)
    }
}

async fn connect(config: &Config) -> anyhow::Result<Session> {
    let (client, connection) =
        config.connect(NoTls).await.context("connecting to PostgreSQL at DATABASE_URL")?;
    let driver = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("hits: the connection to PostgreSQL was lost: {error}");
        }
    }));
    client.batch_execute(SCHEMA).await.context("preparing the table in PostgreSQL")?;
    Ok(Session { client: client.into(), _driver: driver.into() })
}
