//! How long a deploy takes, how small the idle processes are, how soon `pando status` answers.
//!
//! Whole programs, as a user runs them: a cluster of `pando dev` with the `hits`
//! example. Medians of several rounds, printed and written to
//! `bench/results/deploy.md`. Run by `script/bench deploy`.

#![allow(clippy::unwrap_used, reason = "a measurement that can't go on ends")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;

fn main() {
    let hits = Path::new(env!("CARGO_BIN_EXE_pando")).with_file_name("hits");
    assert!(hits.exists(), "build it first: cargo build --release -p hits");
    let own_start = median((0..ROUNDS * 2).map(|_| app_start(&hits)).collect());
    let mut report = String::from(
        "# Deploys\n\nOne machine, release build, medians. `script/bench deploy` measures again.\n\n",
    );
    let _ = writeln!(
        report,
        "The app's own start, from its process to the first good answer of `/health`: {}\n",
        ms(own_start)
    );
    report.push_str("| replicas | rolling deploy | restart of a ready release | beyond the app's own starts, a batch |\n|---|---|---|---|\n");
    for replicas in [1_u32, 3, 10] {
        report.push_str(&deploys(&hits, replicas, own_start));
    }
    report.push_str(&small_things(&hits));
    report.push_str(&route_changes());
    println!("{report}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/results");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("deploy.md"), &report).unwrap();
}

/// A project directory with a cluster that is up; ends with it.
struct Cluster {
    dir: tempfile::TempDir,
    replicas: u32,
    edition: u32,
}

impl Cluster {
    fn up(hits: &Path, replicas: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::copy(hits, dir.path().join("bin/hits")).unwrap();
        let mut cluster = Self { dir, replicas, edition: 0 };
        cluster.write();
        cluster.pando(&["dev", "--detach", "--port", &free_port().to_string()]);
        cluster
    }

    fn write(&mut self) {
        self.edition += 1;
        let text = format!(
            "name: hits\nsource: .\nreplicas: {}\nhealth_check_path: /health\nprocesses:\n  web: {{command: bin/hits, role: web}}\n\
             env:\n  - {{name: HITS_DB, value: \"{}\"}}\n  - {{name: EDITION, value: \"{}\"}}\n",
            self.replicas,
            self.dir.path().join("hits.db").display(),
            self.edition
        );
        fs::write(self.dir.path().join("pando.yaml"), text).unwrap();
    }

    fn pando(&self, args: &[&str]) -> Duration {
        let start = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_pando"))
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        let took = start.elapsed();
        assert!(output.status.success(), "pando {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        took
    }

    fn kept_pid(&self, name: &str) -> u64 {
        let path = self.dir.path().join(".pando/keep").join(name).join("state.json");
        let state: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        state["child"]["pid"].as_u64().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.pando(&["dev", "--stop"]);
    }
}

fn deploys(hits: &Path, replicas: u32, own_start: Duration) -> String {
    let mut cluster = Cluster::up(hits, replicas);
    let rolling = median(
        (0..ROUNDS)
            .map(|_| {
                cluster.write();
                cluster.pando(&["deploy"])
            })
            .collect(),
    );
    let restart = median((0..ROUNDS).map(|_| cluster.pando(&["restart"])).collect());
    let beyond = restart.saturating_sub(own_start * replicas) / replicas;
    format!("| {replicas} | {} | {} | {} |\n", ms(rolling), ms(restart), ms(beyond))
}

fn small_things(hits: &Path) -> String {
    let cluster = Cluster::up(hits, 3);
    let status = median((0..20).map(|_| cluster.pando(&["status"])).collect());
    // Idle: nothing has happened for a while.
    std::thread::sleep(Duration::from_secs(5));
    let [daemon, proxy] = ["daemon", "proxy"].map(|name| resident_mb(cluster.kept_pid(name)));
    format!(
        "\n| what | figure |\n|---|---|\n| `pando status`, whole command | {} |\n| idle daemon, resident | {daemon:.1} MB |\n\
         | idle proxy, resident | {proxy:.1} MB |\n",
        ms(status)
    )
}

fn resident_mb(pid: u64) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kilobytes: u32 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    f64::from(kilobytes) * 1024.0 / 1e6
}

/// From a new table's first byte to its acknowledgement, with every endpoint in rotation, by a proxy of its own.
fn route_changes() -> String {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("proxy.sock");
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = origin.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in origin.incoming() {
            drop(stream);
        }
    });
    let listen = format!("127.0.0.1:{}", free_port());
    let mut proxy = Kill(
        Command::new(env!("CARGO_BIN_EXE_pando"))
            .args(["proxy", "--listen", &listen, "--control-socket", socket.to_str().unwrap()])
            .args(["--state-file", dir.path().join("table.json").to_str().unwrap()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait_for(|| UnixStream::connect(&socket).is_ok());
    let took = median((1..=100).map(|revision| put_table(&socket, &address.to_string(), revision)).collect());
    proxy.0.kill().unwrap();
    format!("| a route change, acknowledged with the new replicas in rotation | {} |\n", ms(took))
}

fn put_table(socket: &Path, address: &str, revision: u32) -> Duration {
    let endpoint = |n: u32| {
        let id = format!("00000000-0000-7000-8000-{:012x}", revision * 16 + n);
        format!("{{\"id\":\"{id}\",\"address\":\"{address}\"}}")
    };
    let endpoints = (0..3).map(endpoint).collect::<Vec<_>>().join(",");
    let table = format!(
        "{{\"version\":{{\"epoch\":1,\"revision\":{revision}}},\"rules\":[{{\"host\":\"*\",\"pool\":\"p\"}}],\
         \"pools\":{{\"p\":{{\"endpoints\":[{endpoints}]}}}}}}"
    );
    let start = Instant::now();
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(
        stream,
        "PUT /v1/table HTTP/1.1\r\nHost: p\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{table}",
        table.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let took = start.elapsed();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"not_in_rotation\":[]"), "{answer}");
    took
}

/// From the start of the app's process to the first good answer of its health check.
fn app_start(hits: &PathBuf) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let start = Instant::now();
    let app = Command::new(hits)
        .env("PORT", port.to_string())
        .env("HITS_DB", dir.path().join("hits.db"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut app = Kill(app);
    wait_for(|| is_healthy(port));
    let took = start.elapsed();
    app.0.kill().unwrap();
    took
}

fn is_healthy(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let asked = write!(stream, "GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
}

fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "it does not come up");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A child that ends with its owner.
struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
