//! Applies rules in such a way that nobody is cut off for good.
//!
//! A guard, a small process of its own in a session of its own, puts the new
//! rules in force, and the old ones back unless it is told in time that all is
//! well. It needs neither this program nor its file to do so: when the agent is
//! killed in between, the guard sees its end and goes back at once; when the
//! agent hangs, after [`TIME`]. If both were killed, the file with the old rules
//! is still there, and the next start of the agent goes back.

use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::ruleset;
use super::tool::{self, ToolError};
use crate::leader::Leader;

/// How long new rules may be in force before somebody has said that all is well.
const TIME: Duration = Duration::from_secs(10);
/// Below [`TIME`], so that whoever waits gives up first.
const CONFIRM_WITHIN: Duration = Duration::from_secs(8);
/// How often a connection that fails is tried again meanwhile: a server that was just started answers a little late.
const TRY_AGAIN: Duration = Duration::from_millis(250);
/// For a guard of an earlier agent to end.
const GUARD_ENDS_WITHIN: Duration = Duration::from_secs(20);

/// Exits with 0: the new rules are kept; 3: nft refused them; 4: the old ones are back; 5: they could not be put back.
///
/// Signals that end a service don't end the guard before its work is done. `head` ends when the agent has written a line or is
/// gone; what it printed is all that counts.
const SCRIPT: &str = r#"
trap '' PIPE HUP TERM INT
timeout -s KILL 5 nft -f "$DIRECTORY/next.nft" || { rm -f "$DIRECTORY/restore.nft"; exit 3; }
echo applied >&2
answer=$(timeout -s KILL "$SECONDS_LEFT" head -n 1)
[ "$answer" = keep ] || timeout -s KILL 5 nft -f "$DIRECTORY/restore.nft" || exit 5
rm -f "$DIRECTORY/restore.nft"
[ "$answer" = keep ] || exit 4
"#;

#[derive(Debug, thiserror::Error)]
pub(crate) enum GuardError {
    #[error("can't write to `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("can't start the guard that would go back")]
    Start(#[source] io::Error),
    #[error("an earlier change of the firewall has not ended within {GUARD_ENDS_WITHIN:?}")]
    Busy,
    #[error("nft refuses the rules: {0}")]
    Refused(String),
    #[error(
        "with the new rules the control plane could not be reached afresh within {CONFIRM_WITHIN:?}; the old ones are back"
    )]
    Unconfirmed,
    #[error("the old rules could not be put back: {0}")]
    Stuck(String),
    #[error(transparent)]
    Tool(#[from] ToolError),
}

/// What is needed to change rules under guard.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    /// Of its own, private.
    pub(crate) directory: PathBuf,
    /// Makes the guard the leader of a session of its own.
    pub(crate) leader: Leader,
}

impl Guard {
    /// Puts `next` in force, and `restore` back unless `confirmed` says within 8 s that all is well; it is asked again until it does.
    ///
    /// # Errors
    /// The rules from before are in force then, but for [`GuardError::Stuck`].
    pub(crate) async fn apply<F: Future<Output = bool>>(
        &self,
        next: &str,
        restore: &str,
        confirmed: impl Fn() -> F,
    ) -> Result<(), GuardError> {
        let lock = self.lock().await?;
        self.write("next.nft", next)?;
        self.write("restore.nft", restore)?;
        let mut guard = self.start(lock)?;
        let (complaints, begun) = begun(&mut guard).await;
        let all_well = begun && until_confirmed(confirmed).await;
        end(guard, all_well, complaints).await
    }

    /// After a start: waits for the guard of an earlier agent, and goes back where nobody else did.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) async fn recover(&self) -> Result<(), GuardError> {
        let restore = self.directory.join("restore.nft");
        if !restore.exists() {
            return Ok(());
        }
        let _lock = self.lock().await?;
        if !restore.exists() {
            return Ok(());
        }
        tracing::warn!("a change of the firewall was cut short; going back to the rules from before it");
        tool::run("nft", &["-f", &restore.to_string_lossy()], None).await?;
        fs::remove_file(&restore).map_err(|source| GuardError::Write { path: restore, source })
    }

    /// Held by the guard for as long as it lives.
    async fn lock(&self) -> Result<File, GuardError> {
        let path = self.directory.join("guard.lock");
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = open.map_err(|source| GuardError::Write { path, source })?;
        let deadline = Instant::now() + GUARD_ENDS_WITHIN;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if Instant::now() >= deadline {
                return Err(GuardError::Busy);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(file)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), GuardError> {
        let path = self.directory.join(name);
        let written = pando_rt::fs::write_atomically(&path, text.as_bytes(), 0o600);
        written.map_err(|source| GuardError::Write { path, source })
    }

    /// The lock goes with its standard output, which it does not use otherwise.
    fn start(&self, lock: File) -> Result<Child, GuardError> {
        let mut command = Command::from(self.leader.command(SCRIPT));
        command.env_clear().env("PATH", tool::PATH).env("LC_ALL", "C");
        command.env("DIRECTORY", &self.directory).env("SECONDS_LEFT", TIME.as_secs().to_string());
        command.current_dir("/").stdin(Stdio::piped()).stdout(lock).stderr(Stdio::piped());
        command.spawn().map_err(GuardError::Start)
    }
}

/// Tells the guard, waits for its end, and says what it did.
async fn end(mut guard: Child, all_well: bool, mut complaints: String) -> Result<(), GuardError> {
    // Without a word its input ends here, and it goes back.
    if let Some(mut stdin) = guard.stdin.take().filter(|_| all_well) {
        // A guard that is gone has gone back; its exit status says so.
        let _ = stdin.write_all(b"keep\n").await;
    }
    if let Some(stderr) = guard.stderr.take() {
        let _ = stderr.take(4096).read_to_string(&mut complaints).await;
    }
    let status = guard.wait().await.map_err(GuardError::Start)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(3) => Err(GuardError::Refused(tool::said(complaints.as_bytes()))),
        Some(4) => Err(GuardError::Unconfirmed),
        _ => Err(GuardError::Stuck(tool::said(complaints.as_bytes()))),
    }
}

/// Whether the new rules are in force, and what was complained of.
async fn begun(guard: &mut Child) -> (String, bool) {
    let Some(stderr) = guard.stderr.take() else { return (String::new(), false) };
    let mut lines = BufReader::new(stderr);
    let mut complaints = String::new();
    let mut line = String::new();
    let complete = loop {
        line.clear();
        match timeout(TIME, lines.read_line(&mut line)).await {
            Ok(Ok(1..)) if line == "applied\n" => break true,
            Ok(Ok(1..)) if complaints.len() < 4096 => complaints.push_str(&line),
            Ok(Ok(1..)) => {}
            _ => break false,
        }
    };
    guard.stderr = Some(lines.into_inner());
    (complaints, complete)
}

async fn until_confirmed<F: Future<Output = bool>>(confirmed: impl Fn() -> F) -> bool {
    let asked = async {
        while !confirmed().await {
            tokio::time::sleep(TRY_AGAIN).await;
        }
    };
    timeout(CONFIRM_WITHIN, asked).await.is_ok()
}

/// Our table as it is. `None`: there is none.
///
/// # Errors
/// When nft can't say.
pub(crate) async fn listing() -> Result<Option<String>, ToolError> {
    let mut words = vec!["-s", "list", "table"];
    words.extend(ruleset::TABLE.split(' '));
    match tool::run("nft", &words, None).await {
        Ok(text) => Ok(Some(text)),
        Err(ToolError::Failed { said, .. }) if said.contains("No such file or directory") => Ok(None),
        Err(error) => Err(error),
    }
}
