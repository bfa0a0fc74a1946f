//! A cluster of `pando dev` in a directory of its own, with a copy of the `hits` example.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::answer::{told, wait_for_answer};
use crate::docker::image;
use crate::pty::Pty;

/// Ends the cluster when dropped, whatever became of the test.
pub(crate) struct Bed {
    dir: TempDir,
    pub(crate) port: u16,
    settings: Settings,
}

/// What the next `pando.yaml` says.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) replicas: u32,
    /// Told to the app as `HITS_MODE`.
    pub(crate) mode: String,
    /// Lines added to the file.
    pub(crate) extra: String,
    /// Changes with each deploy, so that each is another release.
    pub(crate) edition: u32,
    pub(crate) worker: bool,
    /// What it runs in place of the directory: an image that has the program as its own command.
    pub(crate) image: Option<String>,
    /// Built on that image, of this directory, instead.
    pub(crate) build: bool,
    /// The file names no check.
    pub(crate) own_check: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            replicas: 3,
            mode: "ok".to_owned(),
            extra: String::new(),
            edition: 1,
            worker: false,
            image: None,
            build: false,
            own_check: false,
        }
    }
}

impl Bed {
    /// An app that is deployed and serves.
    pub(crate) fn up(settings: Settings) -> Self {
        let bed = Self::prepare(settings);
        bed.start();
        bed
    }

    pub(crate) fn start(&self) {
        let up = self.pando(&["dev", "--detach", "--port", &self.port.to_string()]);
        assert!(up.status.success(), "{}", told(&up));
    }

    /// The directory alone; nothing runs.
    pub(crate) fn prepare(settings: Settings) -> Self {
        let dir = tempfile::Builder::new().prefix("pando-e2e-").tempdir().unwrap();
        let bed = Self { dir, port: free_port(), settings };
        fs::create_dir(bed.path("bin")).unwrap();
        fs::copy(hits_binary(), bed.path("bin/hits")).unwrap();
        bed.write();
        bed
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Writes `pando.yaml` anew after a change.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.settings.edition += 1;
        self.write();
    }

    fn write(&self) {
        let Settings { replicas, mode, extra, edition, worker, image, build, own_check } = &self.settings;
        let worker = if *worker {
            "\n  worker: {command: bin/hits worker, role: worker, stop_timeout: 5s}"
        } else {
            ""
        };
        let (runs, command, database) = match image {
            None => {
                ("source: .".to_owned(), "command: bin/hits, ", self.path("hits.db").display().to_string())
            }
            Some(image) => (
                format!(
                    "{}\nport: 9000\nvolumes: [\"{}:/data\"]",
                    if *build {
                        "build: {context: ., args: {WHAT: built}}".to_owned()
                    } else {
                        format!("image: {{repository: {image}, pull_policy: if_missing}}")
                    },
                    self.dir().display()
                ),
                "",
                "/data/hits.db".to_owned(),
            ),
        };
        let health = if *own_check { "" } else { "health: {path: /health, start_timeout: 6s}" };
        let text = format!(
            "name: hits\n{runs}\nreplicas: {replicas}\n{health}\n{extra}\n\
             processes:\n  web: {{{command}role: web}}{worker}\n\
             env:\n  - {{name: HITS_DB, value: \"{database}\"}}\n  - {{name: HITS_MODE, value: {mode}}}\n  - {{name: EDITION, value: \"{edition}\"}}\n"
        );
        fs::write(self.path("pando.yaml"), text).unwrap();
        fs::write(self.path(".pandoignore"), "*.db*\n").unwrap();
    }

    /// Runs the binary in the project's directory to its end.
    pub(crate) fn pando(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
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
        command.args(args).current_dir(self.dir());
        command.env_remove("PANDO_CLUSTER_URL").env_remove("PANDO_TOKEN").env("NO_COLOR", "1");
        command
    }

    /// Runs it and insists on exit code 0; what it printed to stdout.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.pando(args);
        assert!(output.status.success(), "pando {args:?}: {}\n{}", told(&output), self.daemon_log());
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        serde_json::from_str(&self.ok(&args)).unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        self.json(&["status"])
    }

    /// The release that the app runs, such as 3.
    pub(crate) fn release(&self) -> u64 {
        self.status()["release"].as_u64().unwrap()
    }

    /// Waits until the status is as wanted.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, seconds: u64, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for_answer(&["status", "--json"], what, seconds, wanted)
    }

    /// Asks again and again until the answer is as wanted.
    #[track_caller]
    pub(crate) fn wait_for_answer(
        &self,
        args: &[&str],
        what: &str,
        seconds: u64,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        wait_for_answer(what, seconds, || self.pando(args), || self.daemon_log(), wanted)
    }

    /// `n` replicas of `web` serve, of one release, and nothing else is left.
    pub(crate) fn wait_until_settled(&self, replicas: usize) -> Value {
        self.wait_for("a settled app", 60, |status| {
            let held = status["replicas"].as_array().cloned().unwrap_or_default();
            let serving = held.iter().filter(|r| r["state"] == "serving" && r["process"] == "web").count();
            let one = held.iter().all(|r| r["release"] == status["release"]);
            status["deployment"].is_null() && serving == replicas && one
        })
    }

    /// The pid of the running daemon.
    pub(crate) fn daemon_pid(&self) -> u32 {
        self.kept_pid("daemon")
    }

    pub(crate) fn proxy_pid(&self) -> u32 {
        self.kept_pid("proxy")
    }

    /// Kills the load balancer and what keeps it, and listens in its place before it can be started again.
    pub(crate) fn take_the_port_of_the_load_balancer(&self) -> TcpListener {
        let proxy = self.proxy_pid();
        let status = fs::read_to_string(format!("/proc/{proxy}/status")).unwrap();
        let keeper = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
        kill(keeper.trim().parse().unwrap());
        kill(proxy);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match TcpListener::bind(self.address()) {
                Ok(listener) => return listener,
                Err(error) => assert!(Instant::now() < deadline, "{}: {error}", self.address()),
            }
        }
    }

    fn kept_pid(&self, name: &str) -> u32 {
        let path = self.path(".pando/keep").join(name).join("state.json");
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let state = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            let pid = state.and_then(|state| state["child"]["pid"].as_u64());
            if let Some(pid) = pid.filter(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
                return u32::try_from(pid).unwrap();
            }
            assert!(Instant::now() < deadline, "{name} does not run: {}", path.display());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn daemon_log(&self) -> String {
        let text = fs::read_to_string(self.path(".pando/log/daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(40).collect();
        format!("the daemon's log:\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // Before its state goes, which has its name in the engine.
        let _clear = self.settings.image.is_some().then(|| image::Left::by(self.dir()));
        let ended = self.command(&["dev", "--stop"]).output();
        if let Ok(ended) = ended.as_ref().map_err(ToString::to_string)
            && !ended.status.success()
            && !std::thread::panicking()
        {
            panic!("the cluster does not end: {}", told(ended));
        }
    }
}

/// SIGKILL to a process that this test's cluster started.
pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Below those that the kernel gives to connections: between this look and the use of it, the load of another test could take one
/// of them. Above those of replicas nothing is free.
fn free_port() -> u16 {
    let first = 10_000 + u16::try_from(std::process::id() % 900).unwrap() * 10;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..20_000).find(is_free).expect("no port is free")
}

/// Built beside this test's binary; `cargo nextest run --workspace` builds both.
pub(crate) fn hits_binary() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_pando")).with_file_name("hits");
    assert!(beside.exists(), "{} is missing: build it with `cargo build -p hits`", beside.display());
    beside
}
