//! The small program between the agent and a command that it runs: makes it the leader of a session of its own.
//!
//! A session is what can be ended whole, and what a terminal belongs to. A
//! process can become a leader only by itself, so the agent starts this (a
//! hidden subcommand of its own program), which then becomes the command.
//! On the way it enters the command's cgroups, which takes the agent's own
//! permissions, and becomes the command's user after that. What the app says
//! of the environment holds for the command alone: to a program that runs as
//! root, `LD_PRELOAD` would be an order.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use pando_runtime::account::Account;
use pando_runtime::cgroup;

/// How to start it: a program and what makes it call [`become_leader`] with the arguments that follow.
#[derive(Debug, Clone)]
pub struct Leader {
    pub program: PathBuf,
    pub args: Vec<OsString>,
}

/// Makes stdin the session's terminal.
const TERMINAL: &str = "--terminal";

/// Before each name of a variable that is the command's.
const VARIABLE: &str = "PANDO_LEADS_TO_";

/// The environment is the command's, its names with [`VARIABLE`] before them.
const WRAPPED: &str = "--wrapped";

/// A number follows. With it, the supplementary groups of root are dropped.
const USER: &str = "--user";
const GROUP: &str = "--group";

/// A directory follows, whose processes the command is to be one of.
const CGROUP: &str = "--cgroup";

/// What becomes of the leader, beyond leading a session.
#[derive(Debug, Default)]
pub(crate) struct Becomes<'a> {
    pub(crate) terminal: bool,
    pub(crate) account: Option<&'a Account>,
    pub(crate) cgroups: Vec<PathBuf>,
    pub(crate) env: BTreeMap<String, String>,
}

impl Leader {
    /// The command that runs `script` by `/bin/sh -c`, with nothing of this program's environment.
    pub(crate) fn command_as(&self, script: &str, becomes: Becomes<'_>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).arg(WRAPPED).args(becomes.terminal.then_some(TERMINAL));
        if let Some(account) = becomes.account {
            command.args([USER, &account.uid.to_string(), GROUP, &account.gid.to_string()]);
        }
        for directory in &becomes.cgroups {
            command.arg(CGROUP).arg(directory);
        }
        command.args(["--", "/bin/sh", "-c", script]).env_clear();
        command.envs(becomes.env.into_iter().map(|(name, value)| (format!("{VARIABLE}{name}"), value)));
        command
    }

    /// The command line that runs `script` by `/bin/sh -c`, as this program's user.
    pub(crate) fn command(&self, script: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).args(["--", "/bin/sh", "-c", script]);
        command
    }
}

/// What the arguments before `--` ask for.
#[derive(Debug, Default)]
struct Asked {
    terminal: bool,
    wrapped: bool,
    user: Option<u32>,
    group: Option<u32>,
    cgroups: Vec<PathBuf>,
}

/// Starts a session and becomes the command after `--`. Comes back only when that fails; exit with 126 then.
pub fn become_leader(args: impl IntoIterator<Item = OsString>) -> io::Error {
    let mut args = args.into_iter();
    let lead = |args: &mut dyn Iterator<Item = OsString>| {
        let asked = read(args)?;
        let program = args.next().ok_or_else(|| io::Error::other("no command after `--`"))?;
        enter(&asked.cgroups)?;
        lead(asked.terminal)?;
        Ok::<_, io::Error>(command(&asked, &program))
    };
    match lead(&mut args) {
        Ok(mut command) => command.args(args).exec(),
        Err(error) => error,
    }
}

/// Takes what stands before `--`, and that.
fn read(args: &mut dyn Iterator<Item = OsString>) -> io::Result<Asked> {
    let mut asked = Asked::default();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| io::Error::other("a value is missing"));
        match arg.to_str() {
            Some(TERMINAL) => asked.terminal = true,
            Some(WRAPPED) => asked.wrapped = true,
            Some(USER) => asked.user = Some(number(&value()?)?),
            Some(GROUP) => asked.group = Some(number(&value()?)?),
            Some(CGROUP) => asked.cgroups.push(value()?.into()),
            Some("--") => break,
            _ => return Err(io::Error::other(format!("`{}` is not known here", arg.to_string_lossy()))),
        }
    }
    Ok(asked)
}

fn number(text: &OsStr) -> io::Result<u32> {
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("`{}` is no number", text.to_string_lossy())))
}

/// Before anything of the command's runs, so that no moment of it is unlimited.
fn enter(cgroups: &[PathBuf]) -> io::Result<()> {
    cgroups.iter().try_for_each(|directory| {
        cgroup::enter(directory).map_err(|error| {
            io::Error::new(error.kind(), format!("its cgroup `{}`: {error}", directory.display()))
        })
    })
}

fn command(asked: &Asked, program: &OsStr) -> Command {
    let mut command = Command::new(program);
    if asked.wrapped {
        let own = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.to_str()?.strip_prefix(VARIABLE)?.to_owned(), value)));
        command.env_clear().envs(own);
    }
    if let Some(user) = asked.user {
        command.uid(user);
    }
    if let Some(group) = asked.group {
        command.gid(group);
    }
    command
}

fn lead(terminal: bool) -> rustix::io::Result<()> {
    rustix::process::setsid()?;
    if terminal {
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
    }
    Ok(())
}
