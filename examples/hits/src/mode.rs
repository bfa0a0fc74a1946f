//! The demonstration switch: how this release misbehaves, if it does.
//!
//! The mode comes from `HITS_MODE`, or from a file named `mode` in the directory
//! that the app runs in, so that a broken release can be made by adding one file.
//! It is read once, at start: a release does not change while it runs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

/// How a slow release delays its start, and every answer.
pub const SLOW_START: Duration = Duration::from_secs(5);
pub const SLOW_ANSWER: Duration = Duration::from_millis(500);
/// How long a release that crashes later runs before it does.
pub const CRASH_AFTER: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Ok,
    /// `/health` answers 503.
    Unhealthy,
    /// Listens only after [`SLOW_START`] and takes [`SLOW_ANSWER`] for every answer.
    Slow,
    /// Ends with exit status 1 before listening.
    Crash,
    /// Ends with exit status 1 after [`CRASH_AFTER`].
    CrashLater,
    /// `/health` answers 200 and 503 in turn.
    Flaky,
}

impl Mode {
    /// The mode that `value` (of `HITS_MODE`) names, else the file `mode` in `directory`, else ok.
    pub fn choose(value: Option<&str>, directory: &Path) -> anyhow::Result<Mode> {
        if let Some(value) = value {
            return Mode::parse(value).context("reading HITS_MODE");
        }
        let path = directory.join("mode");
        match std::fs::read_to_string(&path) {
            Ok(text) => Mode::parse(&text).with_context(|| format!("reading {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Mode::Ok),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    fn parse(text: &str) -> anyhow::Result<Mode> {
        Ok(match text.trim() {
            "ok" | "" => Mode::Ok,
            "unhealthy" => Mode::Unhealthy,
            "slow" => Mode::Slow,
            "crash" => Mode::Crash,
            "crash-later" => Mode::CrashLater,
            "flaky" => Mode::Flaky,
            other => bail!(
                "unknown mode `{}`; it is one of ok, unhealthy, slow, crash, crash-later, flaky",
                other.escape_debug()
            ),
        })
    }

    /// Does what the mode asks of a process before it starts its work.
    pub async fn before_start(self) -> anyhow::Result<()> {
        match self {
            Mode::Crash => bail!("crashing at start, as mode `crash` asks"),
            Mode::Slow => tokio::time::sleep(SLOW_START).await,
            _ => {}
        }
        Ok(())
    }

    /// Resolves when the mode wants the running process to crash; for most modes, never.
    pub async fn crash(self) -> anyhow::Error {
        if self != Mode::CrashLater {
            return std::future::pending().await;
        }
        tokio::time::sleep(CRASH_AFTER).await;
        anyhow::anyhow!("crashing after {} s, as mode `crash-later` asks", CRASH_AFTER.as_secs())
    }
}
