//! A directory with a table, two apps, and load balancers that are started in it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(20);

/// Ends all that was started in it when dropped.
pub(super) struct Stage {
    dir: TempDir,
    pub(super) address: SocketAddr,
    socket: String,
    logs: Mutex<usize>,
    _apps: Runtime,
}

/// A load balancer that was started.
pub(super) struct Running {
    child: Mutex<Child>,
    log: PathBuf,
}

impl Running {
    pub(super) fn id(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    pub(super) fn is_running(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_none()
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Stage {
    pub(super) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("pando-handover-").tempdir().unwrap();
        let apps =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (web, chat) = apps.block_on(async { (web().await, chat().await) });
        let endpoint = |n: u8, address: SocketAddr| {
            format!(
                r#"{{"endpoints": [{{"id": "01890a5d-ac96-774b-bcce-b302099a80{n:02}", "address": "{address}"}}]}}"#
            )
        };
        let table = format!(
            r#"{{"version": {{"epoch": 1, "revision": 1}}, "rules": [{{"host": "*", "pool": "web"}}, {{"host": "*", "path": "/chat", "pool": "chat"}}],
                "pools": {{"web": {}, "chat": {}}}}}"#,
            endpoint(1, web),
            endpoint(2, chat)
        );
        std::fs::write(dir.path().join("table.json"), table).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let socket = dir.path().join("control.sock").to_str().unwrap().to_owned();
        Self { dir, address, socket, logs: Mutex::new(0), _apps: apps }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn socket(&self) -> &str {
        &self.socket
    }

    /// The program under a name of its own.
    pub(super) fn own_program(&self) -> PathBuf {
        let program = self.path("pando");
        std::fs::copy(env!("CARGO_BIN_EXE_pando"), &program).unwrap();
        program
    }

    pub(super) fn start(&self, more: &[&str]) -> Running {
        self.start_with(more, &[])
    }

    pub(super) fn start_with(&self, more: &[&str], env: &[(&str, &str)]) -> Running {
        self.start_program(Path::new(env!("CARGO_BIN_EXE_pando")), more, env)
    }

    pub(super) fn start_program(&self, program: &Path, more: &[&str], env: &[(&str, &str)]) -> Running {
        let log = {
            let mut logs = self.logs.lock().unwrap();
            *logs += 1;
            self.path(&format!("{logs}.log"))
        };
        let mut command = self.command(program, more);
        command.envs(env.iter().copied()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        Running { child: Mutex::new(command.spawn().unwrap()), log }
    }

    fn command(&self, program: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(["proxy", "--control-socket", &self.socket]).stdin(Stdio::null());
        if !more.contains(&"--table") {
            command.arg("--table").arg(self.path("table.json"));
        }
        if !more.contains(&"--listen") {
            command.args(["--listen", &self.address.to_string()]);
        }
        command.args(more);
        command
    }

    /// A load balancer that is expected to end by itself.
    pub(super) fn pando_proxy(&self, more: &[&str]) -> Output {
        self.command(Path::new(env!("CARGO_BIN_EXE_pando")), more).output().unwrap()
    }

    pub(super) fn pando(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_pando")).args(args).stdin(Stdio::null()).output().unwrap()
    }

    pub(super) fn wait_until_served(&self) {
        until("the app answers", || {
            let Ok(mut stream) = TcpStream::connect(self.address) else { return false };
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
        });
    }

    pub(super) fn wait_for_log(&self, running: &Running, text: &str) {
        until(text, || running.log().contains(text));
    }

    /// All that serve here, whoever started them.
    pub(super) fn processes(&self) -> Vec<u32> {
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.contains(&&b"proxy"[..]) && words.contains(&self.socket.as_bytes())
        })
        .collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Some(pid) = self.processes().first() {
            let kind = if Instant::now() < deadline { "-TERM" } else { "-KILL" };
            let _ = Command::new("kill").args([kind, &pid.to_string()]).output();
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// SIGTERM.
pub(super) fn rest(pid: u32) {
    assert!(Command::new("kill").arg(pid.to_string()).status().unwrap().success());
}

#[track_caller]
pub(super) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(super) fn install_script(at: &Path, text: &str) {
    std::fs::write(at, text).unwrap();
    std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Answers "ok".
async fn web() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().fallback(axum::routing::any(|| async { "ok" }));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Echoes.
async fn chat() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // A probe is no WebSocket.
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}
