//! The daemon's side of a keeper: starts it when none lives, finds it when one does, and ends it.

use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use pando_rt::error_chain::error_chain;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::account;
use crate::control::{Answer, LONGEST_LINE};
use crate::dir::{read_json, try_lock, write_json};
use crate::proc;
use crate::process::blocking;
use crate::shim::KeepSpec;
use crate::shim::keep_files::{KeepState, LOCK, SPEC, STATE};

/// Taking over from an orphan takes some seconds, everything else milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A new one has a minute and a half to take over; see the load balancer.
const RENEWAL_PATIENCE: Duration = Duration::from_secs(100);

/// SIGKILL takes effect within this, or the process hangs in the kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(5);

/// How a keeper is started.
#[derive(Debug, Clone)]
pub struct KeeperProgram {
    /// The executable of the shim, such as this program's own.
    pub shim_program: PathBuf,
    /// What makes it a shim, such as `["shim"]`; `keep --dir DIR` follows.
    pub shim_args: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error("can't keep `{name}` running: {why}")]
    Refused { name: String, why: String },
    #[error("can't {what}")]
    Io { what: String, source: io::Error },
}

/// Makes a directory (and what is missing above it) that belongs to the system user `user`, who is made when missing.
/// Needs root.
///
/// # Errors
/// When the user or the directory can't be made.
pub async fn directory_of(user: &str, dir: &Path, mode: u32) -> Result<(), KeeperError> {
    let failed =
        |source| KeeperError::Io { what: format!("make `{}` for the user `{user}`", dir.display()), source };
    let account = account::ensure(user).await.map_err(|error| failed(io::Error::other(error)))?;
    std::fs::create_dir_all(dir).map_err(failed)?;
    std::os::unix::fs::chown(dir, Some(account.uid), Some(account.gid)).map_err(failed)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)).map_err(failed)
}

/// A keeper that lives. Dropping this ends nothing.
#[derive(Debug, Clone)]
pub struct Keeper {
    dir: PathBuf,
    state: KeepState,
}

impl Keeper {
    /// The keeper in `spec.dir`: started, detached from this program, if none lives there. One that lives is taken as it is,
    /// even when it was started with another spec: see [`Keeper::spec`]. The user is made when missing.
    ///
    /// # Errors
    /// When it can't be started, such as for an address that is taken.
    pub async fn ensure(program: &KeeperProgram, spec: &KeepSpec) -> Result<Self, KeeperError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = Self::find(&spec.dir).await? {
                return Ok(found);
            }
            if write_spec(spec).await? {
                start(program, spec).await?;
            } else if Instant::now() > deadline {
                let why = format!("the keeper in `{}` doesn't come up", spec.dir.display());
                return Err(KeeperError::Refused { name: spec.name.clone(), why });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The keeper that lives in `dir`, if one does.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub async fn find(dir: &Path) -> Result<Option<Self>, KeeperError> {
        let there = dir.join(STATE);
        let read = blocking(move || read_json::<KeepState>(&there)).await;
        let state = read.map_err(failed(format!("read `{}`", dir.join(STATE).display())))?;
        let alive = state.filter(|state| state.keeper.is_running());
        Ok(alive.map(|state| Self { dir: dir.to_owned(), state }))
    }

    /// What it was started with. To change it: [`Keeper::stop`], then [`Keeper::ensure`].
    #[must_use]
    pub fn spec(&self) -> &KeepSpec {
        &self.state.spec
    }

    /// Where it listens, with the ports that it has got.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.state.listen
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.state.keeper.pid
    }

    /// The program's pid just now. `None`: it is being started again.
    ///
    /// # Errors
    /// When the keeper's state can't be read.
    pub async fn program_pid(&self) -> Result<Option<u32>, KeeperError> {
        let found = Self::find(&self.dir).await?;
        Ok(found
            .and_then(|keeper| keeper.state.child)
            .filter(|child| child.is_running())
            .map(|child| child.pid))
    }

    /// Has the keeper start what `spec` says beside what runs, which then takes over: see [`KeepSpec::hands_over`]. Answers when that serves.
    ///
    /// # Errors
    /// It did not come to serve; the old one goes on. Or `spec` is for another keeper: other addresses, another user.
    pub async fn renew(&self, spec: &KeepSpec) -> Result<Self, KeeperError> {
        let name = &spec.name;
        let refused = |why: String| KeeperError::Refused { name: name.clone(), why };
        if !spec.is_renewal_of(&self.state.spec) {
            return Err(refused("it takes another keeper".to_owned()));
        }
        let (path, written) = (self.dir.join(SPEC), spec.clone());
        let failure = format!("write `{}`", path.display());
        blocking(move || write_json(&path, &written)).await.map_err(failed(failure))?;
        self.state.keeper.signal(Signal::HUP).map_err(failed(format!("reach the keeper of `{name}`")))?;
        let deadline = Instant::now() + RENEWAL_PATIENCE;
        loop {
            let found = Self::find(&self.dir).await?;
            let found = found.ok_or_else(|| refused("its keeper has ended".to_owned()))?;
            if found.state.renewals > self.state.renewals {
                return found.state.renewal_error.clone().map_or(Ok(found), |why| Err(refused(why)));
            }
            if Instant::now() > deadline {
                return Err(refused("the new one does not come to serve".to_owned()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether the program that runs is another file than the one that `program` names by now, as after an update. `None`: it can't be
    /// said, such as while it is started again.
    pub async fn is_outdated(&self, program: &Path) -> Option<bool> {
        let running = self.program_pid().await.ok()??;
        let program = program.to_owned();
        let look = blocking(move || {
            let (held, wanted) =
                (std::fs::metadata(format!("/proc/{running}/exe"))?, std::fs::metadata(program)?);
            Ok((held.dev(), held.ino()) != (wanted.dev(), wanted.ino()))
        });
        look.await.ok()
    }

    /// Lets go of the sockets, sends the program SIGTERM, waits until both have ended; after `timeout` SIGKILL. When it
    /// returns, the addresses are free.
    ///
    /// # Errors
    /// When it doesn't end even so.
    pub async fn stop(&self, timeout: Duration) -> Result<(), KeeperError> {
        let what = || format!("stop the keeper of `{}`", self.state.spec.name);
        self.state.keeper.signal(Signal::TERM).map_err(failed(what()))?;
        if self.ended_within(timeout).await {
            return Ok(());
        }
        if let Some(latest) = Self::find(&self.dir).await?
            && let Some(child) = latest.state.child.filter(|child| child.is_running())
        {
            proc::signal_group(child.pid, Signal::KILL).map_err(failed(what()))?;
        }
        if self.ended_within(KILL_PATIENCE).await {
            return Ok(());
        }
        self.state.keeper.signal(Signal::KILL).map_err(failed(what()))?;
        match self.ended_within(KILL_PATIENCE).await {
            true => Ok(()),
            false => Err(failed(what())(io::ErrorKind::TimedOut.into())),
        }
    }

    async fn ended_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.state.keeper.is_running() {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
        true
    }
}

/// Tells the keeper that is about to start what to do. False: one lives there.
async fn write_spec(spec: &KeepSpec) -> Result<bool, KeeperError> {
    let (dir, written) = (spec.dir.clone(), spec.clone());
    let write = move || {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        // Under the lock, so that two who write at the same time write one after the other.
        let Some(_lock) = try_lock(&dir.join(LOCK))? else { return Ok(false) };
        write_json(&dir.join(SPEC), &written).map(|()| true)
    };
    blocking(write).await.map_err(failed(format!("write to `{}`", spec.dir.display())))
}

async fn is_free(dir: &Path) -> Result<bool, KeeperError> {
    let lock = dir.join(LOCK);
    let look = blocking(move || Ok(try_lock(&lock)?.is_some())).await;
    look.map_err(failed(format!("lock `{}`", dir.display())))
}

async fn start(program: &KeeperProgram, spec: &KeepSpec) -> Result<(), KeeperError> {
    let refused = |why: String| KeeperError::Refused { name: spec.name.clone(), why };
    if let Some(user) = &spec.user {
        account::ensure(user).await.map_err(|error| refused(error_chain(&error)))?;
    }
    let mut command = Command::new(&program.shim_program);
    command.args(&program.shim_args).args(["keep", "--dir"]).arg(&spec.dir).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut shim = command.spawn().map_err(failed(format!("start `{}`", program.shim_program.display())))?;
    let stdout = shim.stdout.take();
    // Tokio reaps it in the background should it end before this program does.
    drop(shim);
    let mut line = Vec::new();
    if let Some(stdout) = stdout {
        let mut stdout = BufReader::new(stdout).take(LONGEST_LINE);
        let read = tokio::time::timeout(PATIENCE, stdout.read_until(b'\n', &mut line)).await;
        read.map_err(io::Error::from).flatten().map_err(failed("hear from the keeper"))?;
    }
    match serde_json::from_slice(&line) {
        Ok(Answer::Started { .. }) => Ok(()),
        // Another one was quicker: it will be found.
        Ok(Answer::Refused { .. }) if !is_free(&spec.dir).await? => Ok(()),
        Ok(Answer::Refused { why }) => Err(refused(why)),
        Err(_) => Err(refused("it ended without a word".to_owned())),
    }
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> KeeperError {
    let what = what.into();
    move |source| KeeperError::Io { what, source }
}
