//! A directory to call `pando` in, without anything of the machine's own around it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::fake::Fake;
use crate::pty::Pty;

/// Removed when dropped.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    url: Option<String>,
}

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    /// Empty, and no cluster is known.
    pub(crate) fn empty() -> Self {
        Self { dir: tempfile::Builder::new().prefix("pando-cli-").tempdir().unwrap(), url: None }
    }

    /// With the app `hits`, of two processes.
    pub(crate) fn with_app() -> Self {
        let place = Self::empty();
        place.write(
            "pando.yaml",
            "name: hits\nsource: .\nprocesses:\n  web: {command: bin/web}\n  worker: {command: bin/work}\n",
        );
        place.write("bin/web", "#!/bin/sh\n");
        place
    }

    /// The same, and commands speak to `fake`.
    pub(crate) fn with(fake: &Fake) -> Self {
        Self { url: Some(fake.url.clone()), ..Self::with_app() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.run(env!("CARGO_BIN_EXE_pando"), args);
        command.stdin(Stdio::null());
        command
    }

    /// The binary on a terminal of so many rows and columns.
    pub(crate) fn on_terminal(&self, args: &[&str], rows: u16, columns: u16) -> Pty {
        Pty::start(|program, words| self.run(program, words), args, rows, columns)
    }

    fn run(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir.path());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.path("home"));
        // Nothing that is packed may show up in the directory that is packed.
        command.env("TMPDIR", std::env::temp_dir());
        if let Some(url) = &self.url {
            command.env("PANDO_CLUSTER_URL", url).env("PANDO_TOKEN", "pando_test");
        }
        command
    }

    pub(crate) fn pando(&self, args: &[&str]) -> Said {
        self.said(&self.command(args).output().unwrap())
    }

    /// What a call that was started otherwise came to.
    pub(crate) fn said(&self, output: &Output) -> Said {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let text = text.replace(&self.dir.path().display().to_string(), "[DIR]");
            self.url.as_ref().map_or(text.clone(), |url| text.replace(url.as_str(), "[URL]"))
        };
        Said { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

impl Said {
    #[track_caller]
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

/// For snapshots: both outputs and the exit code.
impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.code.map_or("ended by a signal".to_owned(), |code| format!("exit code {code}"));
        write!(f, "{code}\n--- stdout\n{}--- stderr\n{}", self.stdout, without_times(&self.stderr))
    }
}

/// How long packing took, and how small the packed files are, depends on the machine and a library's version.
fn without_times(text: &str) -> String {
    let line = |line: &str| match line.split_once(", ") {
        Some((what, _)) if line.contains("packed ") => format!("{what}, …\n"),
        _ if line.contains("sent in ") => {
            format!("{}sent in …\n", line.split("sent in ").next().unwrap_or(""))
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
