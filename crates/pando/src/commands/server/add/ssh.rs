//! Calling `ssh`: the steps of `remote.sh` on the other machine, over one connection.
//!
//! It is the user's own ssh, with their keys, configuration and agent. What it
//! can't do it says itself; here that becomes a sentence and what to do about it.

use std::ffi::OsString;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::program::Program;
use crate::cli::ServerAddArgs;
use crate::exit::{FAILED, Trouble};
use crate::progress::Progress;
use crate::terminal;
use crate::words::harmless;

/// Runs there, and is sent before everything else, so that no login shell has to understand it.
const SCRIPT: &str = include_str!("remote.sh");
/// Somebody may have to type a passphrase; a slow line needs time for the program.
const WITHIN: Duration = Duration::from_secs(15 * 60);
/// What ssh itself ends with when it could not do its part.
const SSH_FAILED: i32 = 255;
const PIECE: usize = 64 * 1024;

/// A step of `remote.sh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Probe,
    Receive,
    Unit,
    Engine,
    Check,
    Join,
    Restart,
    Log,
}

impl Step {
    fn word(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Receive => "receive",
            Self::Unit => "unit",
            Self::Engine => "engine",
            Self::Check => "check",
            Self::Join => "join",
            Self::Restart => "restart",
            Self::Log => "log",
        }
    }

    /// For a person: what could not be done.
    fn deed(self) -> &'static str {
        match self {
            Self::Probe => "looking at the machine",
            Self::Receive => "copying the program",
            Self::Unit => "writing the unit of systemd",
            Self::Engine => "installing Docker's engine",
            Self::Check => "looking for the control plane",
            Self::Join => "joining",
            Self::Restart => "starting the daemon",
            Self::Log => "reading the daemon's log",
        }
    }
}

/// One machine.
#[derive(Debug)]
pub(super) struct Ssh {
    host: String,
    options: Vec<OsString>,
    sudo: bool,
    /// Holds the socket of the shared connection.
    _dir: TempDir,
}

impl Ssh {
    /// Nothing is sent yet.
    pub(super) fn open(args: &ServerAddArgs) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("pando-ssh-").tempdir().context("no place for a socket")?;
        let mut options: Vec<OsString> = Vec::new();
        let mut option = |flag: &str, value: OsString| options.extend([flag.into(), value]);
        if let Some(file) = &args.ssh_config {
            option("-F", file.into());
        }
        if let Some(user) = &args.ssh_user {
            option("-l", user.into());
        }
        if let Some(port) = args.ssh_port {
            option("-p", port.to_string().into());
        }
        if let Some(file) = &args.identity {
            option("-i", file.into());
        }
        let socket = dir.path().join("%C").to_string_lossy().into_owned();
        // A passphrase is asked for once, and a machine that vanished is noticed.
        let asks = if terminal::is_interactive() { "no" } else { "yes" };
        for setting in [
            "ControlMaster=auto".to_owned(),
            "ControlPersist=30s".to_owned(),
            format!("ControlPath={socket}"),
            "ConnectTimeout=10".to_owned(),
            "ServerAliveInterval=5".to_owned(),
            "ServerAliveCountMax=4".to_owned(),
            format!("BatchMode={asks}"),
        ] {
            option("-o", setting.into());
        }
        options.push("-T".into());
        Ok(Self { host: args.host.clone(), options, sudo: false, _dir: dir })
    }

    /// Without who logs in, as people call it.
    pub(super) fn host(&self) -> &str {
        self.host.rsplit('@').next().unwrap_or_default()
    }

    /// From now on every step is root's.
    pub(super) fn become_root(&mut self) {
        self.sudo = true;
    }

    /// A step with these words and this input; what it printed.
    pub(super) async fn call(&self, step: Step, words: &[&str], input: &[u8]) -> anyhow::Result<String> {
        let mut child = self.start(step, words)?;
        let work = async {
            let fed = feed(&mut child, input).await;
            finish(child, fed).await
        };
        self.judge(step, timed(step, work).await?)
    }

    /// Copies the program.
    pub(super) async fn send(&self, program: &Program, progress: &mut Progress) -> anyhow::Result<()> {
        let mut child = self.start(Step::Receive, &[&program.digest])?;
        let work = async {
            let fed = feed_file(&mut child, program, progress).await;
            finish(child, fed).await
        };
        self.judge(Step::Receive, timed(Step::Receive, work).await?).map(drop)
    }

    fn start(&self, step: Step, words: &[&str]) -> anyhow::Result<Child> {
        let mut command = Command::new("ssh");
        command.args(&self.options).arg("--").arg(&self.host).arg(self.remote_line(step, words));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let started = command.spawn();
        started.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                let trouble = Trouble::new(FAILED, "no_ssh", "there is no `ssh` on this machine");
                trouble.hint("install OpenSSH's client; or use `pando cluster token` and type what it prints there").into()
            }
            _ => anyhow::Error::new(error).context("can't start `ssh`"),
        })
    }

    /// The script is read from stdin, byte by byte up to its end, so that what follows stays for the step. The words have
    /// nothing in them that any shell would take for more than a word.
    fn remote_line(&self, step: Step, words: &[&str]) -> String {
        let sudo = if self.sudo { "sudo -n " } else { "" };
        let words: Vec<&str> = std::iter::once(step.word()).chain(words.iter().copied()).collect();
        let length = SCRIPT.len();
        format!("exec {sudo}sh -c 'eval \"$(dd bs=1 count={length} 2>/dev/null)\"' pando {}", words.join(" "))
    }

    fn judge(&self, step: Step, output: Output) -> anyhow::Result<String> {
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(SSH_FAILED) {
            return Err(unreached(self.host(), &stderr).into());
        }
        Err(refused(self.host(), step, &stderr).into())
    }
}

async fn timed(step: Step, work: impl Future<Output = anyhow::Result<Output>>) -> anyhow::Result<Output> {
    let late = || format!("{} did not end within {} min", step.deed(), WITHIN.as_secs() / 60);
    tokio::time::timeout(WITHIN, work).await.with_context(late)?
}

/// A step that ends early says why itself; that its input was not read is no news then.
async fn finish(child: Child, fed: std::io::Result<()>) -> anyhow::Result<Output> {
    let output = child.wait_with_output().await.context("ssh could not be waited for")?;
    if output.status.success() {
        fed.context("ssh took nothing more")?;
    }
    Ok(output)
}

async fn feed(child: &mut Child, input: &[u8]) -> std::io::Result<()> {
    let Some(mut stdin) = child.stdin.take() else { return Ok(()) };
    stdin.write_all(SCRIPT.as_bytes()).await?;
    stdin.write_all(input).await?;
    stdin.shutdown().await
}

async fn feed_file(child: &mut Child, program: &Program, progress: &mut Progress) -> std::io::Result<()> {
    let Some(mut stdin) = child.stdin.take() else { return Ok(()) };
    stdin.write_all(SCRIPT.as_bytes()).await?;
    let mut file = tokio::fs::File::open(&program.path).await?;
    let (mut piece, mut sent) = (vec![0; PIECE], 0_u64);
    loop {
        let read = file.read(&mut piece).await?;
        if read == 0 {
            return stdin.shutdown().await;
        }
        stdin.write_all(&piece[..read]).await?;
        sent += read as u64;
        let percent = sent.saturating_mul(100) / program.length.max(1);
        progress.show(&[format!("  copying {}: {percent} %", program.size())]);
    }
}

/// What ssh says, and what to do about it. The words are OpenSSH's, which it has in English alone.
pub(super) fn unreached(host: &str, stderr: &str) -> Trouble {
    let has = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    let (code, message, hint) = if has(&["Permission denied", "Too many authentication failures"]) {
        let hint = "`-i FILE` names a key, `-l USER` who logs in; try `ssh` by hand first";
        ("ssh_refused", format!("{host} does not let you in"), hint)
    } else if has(&["Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED"]) {
        let hint = "`ssh` to it by hand once, and look whether it is the machine that you mean";
        ("ssh_host_key", format!("{host}'s key is not the one that your ssh knows, or it knows none"), hint)
    } else if has(&["Could not resolve hostname"]) {
        (
            "ssh_unknown_host",
            format!("there is no host `{host}`"),
            "give its address, or a name of your ~/.ssh/config",
        )
    } else if has(&["Connection refused"]) {
        (
            "ssh_unreachable",
            format!("{host} answers, but not to SSH"),
            "does its SSH listen on another port? `-p PORT`",
        )
    } else if has(&["timed out", "No route to host", "Network is unreachable", "not responding"]) {
        (
            "ssh_unreachable",
            format!("{host} can't be reached over SSH"),
            "is it up, and does its firewall let you in?",
        )
    } else {
        ("ssh_failed", format!("ssh to {host} failed"), "try `ssh` by hand first")
    };
    Trouble::new(FAILED, code, message).details(last_lines(stderr)).hint(hint)
}

/// A step's own words, without those of whatever it called when it has some.
fn refused(host: &str, step: Step, stderr: &str) -> Trouble {
    let own = stderr.lines().rev().find_map(|line| line.strip_prefix("pando: "));
    let message = match own {
        Some(own) => format!("{host}: {}", harmless(own)),
        None => format!("{host}: {} failed", step.deed()),
    };
    let others: String =
        stderr.lines().filter(|line| !line.starts_with("pando: ")).map(|line| format!("{line}\n")).collect();
    Trouble::new(FAILED, "remote", message).details(last_lines(&others))
}

fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(6);
    lines[from..].iter().map(|line| harmless(line)).collect()
}

impl Drop for Ssh {
    fn drop(&mut self) {
        // The shared connection ends by itself after 30 s; this is only sooner.
        let mut command = std::process::Command::new("ssh");
        command.args(&self.options).args(["-O", "exit", "--"]).arg(&self.host);
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
