//! Everything that the environment may say, read once at start.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use crate::mode::Mode;

#[derive(Clone, Debug)]
pub struct Settings {
    /// `PORT`; 0 lets the system choose. Default 8080.
    pub port: u16,
    pub who: Who,
    pub mode: Mode,
    pub store: Store,
    /// `HITS_ASSETS`: the directory of the files below `/assets/`. Default `assets` in the app's directory.
    pub assets: PathBuf,
    /// `HITS_MIGRATE=fail`: `hits migrate` fails.
    pub migrate_fails: bool,
    /// `HITS_DRAIN_SECONDS`: how long open requests may take to end after SIGTERM. Default 25, a
    /// little less than the 30 s after which Pando kills.
    pub drain: Duration,
}

/// Who answers: what Pando told this replica of itself.
#[derive(Clone, Debug)]
pub struct Who {
    /// `PANDO_REPLICA` (`web-2`), or the host's name outside Pando.
    pub replica: String,
    /// `PANDO_INSTANCE`, or this process's id outside Pando.
    pub instance: String,
    /// `PANDO_RELEASE` (`v42`), or `dev`.
    pub release: String,
    /// `PANDO_SERVER`, or the host's name.
    pub server: String,
}

/// Where the count is kept.
#[derive(Clone, Debug)]
pub enum Store {
    /// `HITS_DB`: a file, or a directory that gets a `hits.db`. Default: `hits.db` in the
    /// system's temporary directory.
    Sqlite { path: PathBuf },
    /// `DATABASE_URL`, and `REDIS_URL` if there is a cache.
    Postgres { url: String, redis: Option<String> },
}

impl Settings {
    pub fn from_environment() -> anyhow::Result<Settings> {
        let directory = std::env::current_dir().context("finding the app's directory")?;
        Ok(Settings {
            port: number("PORT", 8080)?,
            who: Who::from_environment(),
            mode: Mode::choose(variable("HITS_MODE").as_deref(), &directory)?,
            store: Store::from_environment(),
            assets: variable("HITS_ASSETS").map_or_else(|| directory.join("assets"), PathBuf::from),
            migrate_fails: variable("HITS_MIGRATE").as_deref() == Some("fail"),
            drain: Duration::from_secs(number("HITS_DRAIN_SECONDS", 25u32)?.into()),
        })
    }
}

impl Who {
    fn from_environment() -> Who {
        let host = host_name();
        Who {
            replica: variable("PANDO_REPLICA").unwrap_or_else(|| host.clone()),
            instance: variable("PANDO_INSTANCE").unwrap_or_else(|| format!("pid-{}", std::process::id())),
            release: variable("PANDO_RELEASE").unwrap_or_else(|| "dev".to_owned()),
            server: variable("PANDO_SERVER").unwrap_or(host),
        }
    }
}

impl Store {
    fn from_environment() -> Store {
        match variable("DATABASE_URL") {
            Some(url) => Store::Postgres { url, redis: variable("REDIS_URL") },
            None => Store::Sqlite { path: sqlite_path(variable("HITS_DB").map(PathBuf::from)) },
        }
    }
}

fn sqlite_path(given: Option<PathBuf>) -> PathBuf {
    let path = given.unwrap_or_else(std::env::temp_dir);
    if path.is_dir() { path.join("hits.db") } else { path }
}

/// An empty variable counts as absent.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number<T>(name: &str, default: T) -> anyhow::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match variable(name) {
        None => Ok(default),
        Some(text) => text.trim().parse().with_context(|| format!("{name} is `{}`", text.escape_debug())),
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .or_else(|| variable("HOSTNAME"))
        .unwrap_or_else(|| "localhost".to_owned())
}
