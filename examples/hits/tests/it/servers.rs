//! PostgreSQL and Redis for a test: real servers on loopback, with their data in a temporary
//! directory, ended when dropped.

use std::io::ErrorKind;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::app::{DEADLINE, until};

/// A server process that can be ended and started again on its port.
pub struct Server {
    pub port: u16,
    directory: Arc<TempDir>,
    child: Child,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Postgres,
    Redis,
}

impl Server {
    pub async fn postgres() -> Server {
        let directory = tempfile::tempdir().unwrap();
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut initdb = as_unprivileged(Command::new(postgres_program("initdb")));
        initdb.args(["--no-sync", "--auth=trust", "--username=hits", "--encoding=UTF8", "--pgdata"]);
        initdb.arg(directory.path().join("data"));
        let output = initdb.output().await.unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        Server::start(directory.into(), Kind::Postgres).await
    }

    pub async fn redis() -> Server {
        Server::start(tempfile::tempdir().unwrap().into(), Kind::Redis).await
    }

    /// A port that was free a moment ago may have been taken since: then another is tried.
    async fn start(directory: Arc<TempDir>, kind: Kind) -> Server {
        for _ in 0..10 {
            let port = free_port();
            let child = spawn(kind.command(directory.path(), port));
            let mut server = Server { port, directory: directory.clone(), child, kind };
            if server.answers().await {
                return server;
            }
        }
        panic!("no server started on ten free ports");
    }

    pub async fn stop(&mut self) {
        signal(&self.child, Signal::INT);
        tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("ends when asked").unwrap();
    }

    /// Starts the server again, with the data and the port it had.
    pub async fn start_again(&mut self) {
        self.child = spawn(self.kind.command(self.directory.path(), self.port));
        assert!(self.answers().await, "the server starts again");
    }

    /// Waits until it answers; false when it ended instead.
    async fn answers(&mut self) -> bool {
        let (kind, port) = (self.kind, self.port);
        let answers = until("the server answers", || kind.answers(port));
        tokio::select! {
            biased;
            _ = self.child.wait() => false,
            () = answers => true,
        }
    }
}

impl Kind {
    fn command(self, directory: &Path, port: u16) -> Command {
        match self {
            Kind::Postgres => start_postgres(directory, port),
            Kind::Redis => start_redis(directory, port),
        }
    }

    /// Whether a session can be had: while PostgreSQL starts up it accepts connections and refuses them.
    async fn answers(self, port: u16) -> bool {
        match self {
            Kind::Postgres => {
                let address = format!("postgres://hits@127.0.0.1:{port}/postgres");
                tokio_postgres::connect(&address, tokio_postgres::NoTls).await.is_ok()
            }
            Kind::Redis => {
                let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
                client.get_multiplexed_async_connection().await.is_ok()
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked rather than killed: PostgreSQL has children of its own to end.
        signal(&self.child, Signal::INT);
        // The directory goes next; nobody may be writing in it any more.
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
        let _ = kill_process(pid, signal);
    }
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => panic!(
            "{:?} is not installed; these tests need the packages postgresql and redis-server",
            command.as_std().get_program()
        ),
        Err(error) => panic!("starting {:?}: {error}", command.as_std().get_program()),
    }
}

fn start_postgres(directory: &Path, port: u16) -> Command {
    let mut command = as_unprivileged(Command::new(postgres_program("postgres")));
    command.arg("-D").arg(directory.join("data")).args(["-p", &port.to_string(), "-F"]);
    command.arg("-c").arg(format!("unix_socket_directories={}", directory.display()));
    command.args(["-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=8MB"]);
    command
}

fn start_redis(directory: &Path, port: u16) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(directory);
    command
}

/// Debian keeps PostgreSQL's server programs out of the PATH, one directory per version.
fn postgres_program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| name.into())
}

/// PostgreSQL refuses to run as root; then the package's own user runs it.
fn as_unprivileged(mut command: Command) -> Command {
    if let Some((uid, gid)) = unprivileged() {
        command.uid(uid).gid(gid);
    }
    // A directory that this user may not enter would be complained about.
    command.current_dir("/");
    command
}

fn unprivileged() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let line = line.expect("no user `postgres`; these tests need the package postgresql");
    let mut numbers = line.split(':').skip(2).map(|number| number.parse().unwrap());
    Some((numbers.next().unwrap(), numbers.next().unwrap()))
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
