//! The Redis cache of the count. A help, never a condition: when Redis is away,
//! the database answers alone, and Redis is tried again a little later.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

/// A cache that takes longer than this is worth less than none.
const ANSWER: Duration = Duration::from_millis(250);
/// How long a failing cache is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a cached count is kept, in seconds: the worst age of a count that was changed by hand.
const KEPT: u32 = 60;

const KEY: &str = "hits:count";
/// Replicas write in any order, so the cache only ever rises.
const RAISE: &str = "local now = tonumber(redis.call('GET', KEYS[1]) or '-1')
    if tonumber(ARGV[1]) > now then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
    return 1";

pub struct Cache {
    connection: ConnectionManager,
    failed: Mutex<Option<Instant>>,
}

impl Cache {
    pub fn open(url: &str) -> anyhow::Result<Cache> {
        // The cause may quote the address, and with it the password: it is left out.
        let client = redis::Client::open(url)
            .ok()
            .context("REDIS_URL cannot be read; it looks like redis://host:6379")?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(ANSWER))
            .set_response_timeout(Some(ANSWER));
        let connection = ConnectionManager::new_lazy_with_config(client, config)
            .context("preparing the connection to Redis")?;
        Ok(Cache { connection, failed: Mutex::new(None) })
    }

    /// The cached count, if Redis is there and has one.
    pub async fn get(&self) -> Option<i64> {
        let mut command = redis::cmd("GET");
        command.arg(KEY);
        self.ask::<Option<i64>>(&command).await.flatten()
    }

    /// Tells the cache of a count that the database has confirmed.
    pub async fn raise(&self, count: i64) {
        let mut command = redis::cmd("EVAL");
        command.arg(RAISE).arg(1).arg(KEY).arg(count).arg(KEPT);
        self.ask::<i64>(&command).await;
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Option<T> {
        if self.is_paused() {
            return None;
        }
        let mut connection = self.connection.clone();
        let result = tokio::time::timeout(ANSWER, command.query_async(&mut connection)).await;
        let result = result.map_err(|_| "it took too long".to_owned());
        self.note(result.and_then(|answer| answer.map_err(|error: redis::RedisError| error.to_string())))
    }

    fn is_paused(&self) -> bool {
        self.failed().is_some_and(|at| at.elapsed() < PAUSE)
    }

    /// Remembers how it went; says so only when that changes.
    fn note<T>(&self, result: Result<T, String>) -> Option<T> {
        let mut failed = self.failed();
        match result {
            Ok(value) => {
                if failed.take().is_some() {
                    println!("hits: Redis answers again");
                }
                Some(value)
            }
            Err(error) => {
                if failed.replace(Instant::now()).is_none() {
                    eprintln!("hits: going on without the Redis cache: {error}");
                }
                None
            }
        }
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
