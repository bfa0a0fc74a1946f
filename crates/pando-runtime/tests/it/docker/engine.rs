//! An engine that a test may stop, kill and start again. It has a network of its own in which nothing is, so that it touches nothing of
//! this machine's engine.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::bed::{make_image, on_a_thread, owner, remove_containers};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct OwnEngine {
    root: tempfile::TempDir,
    /// What holds the containers; under systemd, too, it is a service of its own and outlives the engine.
    containerd: Child,
    child: Option<Child>,
    live_restore: bool,
    /// Whose containers are cleared away at the end.
    pub(crate) states: Vec<PathBuf>,
}

impl OwnEngine {
    pub(crate) fn new(live_restore: bool) -> Self {
        // Short: the paths of sockets have to fit into 108 bytes.
        let root = tempfile::Builder::new().prefix("pd").tempdir_in("/tmp").unwrap();
        let containerd = containerd(root.path());
        let mut engine = Self { root, containerd, child: None, live_restore, states: Vec::new() };
        engine.start();
        on_a_thread(make_image(engine.socket(), &[]));
        engine
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.root.path().join("e.sock")
    }

    /// Answers once the engine does.
    pub(crate) fn start(&mut self) {
        let path = |name: &str| self.root.path().join(name);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path("log")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--net", "dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false"]);
        command.arg(format!("--live-restore={}", self.live_restore));
        command.arg(format!("--data-root={}", path("data").display()));
        command.arg(format!("--exec-root={}", path("exec").display()));
        command.arg(format!("--containerd={}", path("c.sock").display()));
        command.arg(format!("--pidfile={}", path("pid").display()));
        command.arg(format!("--host=unix://{}", self.socket().display()));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        self.child = Some(command.spawn().expect("dockerd, which `script/test` installs"));
        let begun = Instant::now();
        while !answers(&self.socket()) {
            let said = std::fs::read_to_string(path("log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "the engine did not start: {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn kill(&mut self) {
        self.end_by(Signal::KILL);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().map(Child::id).and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        kill_process(pid.expect("it runs"), signal).unwrap();
    }

    fn end_by(&mut self, signal: Signal) {
        self.signal(signal);
        let mut child = self.child.take().unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > PATIENCE {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if self.child.is_none() {
            self.start();
        }
        for state in &self.states {
            on_a_thread(remove_containers(self.socket(), owner(state)));
        }
        self.end_by(Signal::TERM);
        let _ = self.containerd.kill();
        let _ = self.containerd.wait();
        // Two at most: the directory of images is mounted on itself.
        for _ in 0..2 {
            let data = self.root.path().join("data");
            let _ = Command::new("umount").arg(data).stderr(Stdio::null()).status();
        }
    }
}

fn containerd(root: &Path) -> Child {
    let path = |name: &str| root.join(name);
    let config = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n",
        path("c-root"),
        path("c-state"),
        path("c.sock")
    );
    std::fs::write(path("c.toml"), config).unwrap();
    let log = std::fs::File::create(path("c.log")).unwrap();
    let mut command = Command::new("containerd");
    command.arg("--config").arg(path("c.toml"));
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
    let child = command.spawn().expect("containerd, which comes with dockerd");
    let begun = Instant::now();
    while std::os::unix::net::UnixStream::connect(path("c.sock")).is_err() {
        assert!(begun.elapsed() < PATIENCE, "{}", std::fs::read_to_string(path("c.log")).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn answers(socket: &Path) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::os::unix::net::UnixStream::connect(socket) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let asked = stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n");
    let mut answer = [0; 64];
    asked.is_ok()
        && stream.read(&mut answer).is_ok_and(|length| answer[..length].starts_with(b"HTTP/1.0 200"))
}
