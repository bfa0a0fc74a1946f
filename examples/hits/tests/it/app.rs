//! Starting the binary, asking it things, and waiting for what it does.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

/// Far more than anything takes here; reached only when something is broken.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The binary with an environment of its own: nothing of the caller's gets in but what is given.
pub fn command(arguments: &[&str], environment: &[(&str, &str)], directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hits"));
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A running process and all that it has said.
pub struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Process {
    pub fn start(arguments: &[&str], environment: &[(&str, &str)], directory: &Path) -> Process {
        let mut child = command(arguments, environment, directory).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        keep(child.stdout.take().unwrap(), said.clone());
        keep(child.stderr.take().unwrap(), said.clone());
        Process { child, said }
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until the process has said `words`, and gives the line.
    pub async fn says(&mut self, words: &str) -> String {
        let found = tokio::time::timeout(DEADLINE, async {
            loop {
                let said = self.said();
                if let Some(line) = said.lines().find(|line| line.contains(words)) {
                    return line.to_owned();
                }
                if let Some(status) = self.child.try_wait().unwrap() {
                    self.all_said_by_now().await;
                    let said = self.said();
                    let line = said.lines().find(|line| line.contains(words));
                    return line
                        .unwrap_or_else(|| panic!("ended ({status}) before `{words}`: {said}"))
                        .to_owned();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        match found.await {
            Ok(line) => line,
            Err(_) => panic!("never said `{words}`: {}", self.said()),
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().expect("still running").try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end of the process and of its output.
    pub async fn ended(&mut self) -> ExitStatus {
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("did not end: {}", self.said())).unwrap();
        self.all_said_by_now().await;
        status
    }

    /// The readers hold a clone each until their pipe is at its end.
    async fn all_said_by_now(&self) {
        let drained = async {
            while Arc::strong_count(&self.said) > 1 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(DEADLINE, drained).await.expect("the output ends with the process");
    }
}

fn keep(pipe: impl AsyncRead + Unpin + Send + 'static, said: Arc<Mutex<String>>) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            said.lock().unwrap().push_str(&(line + "\n"));
        }
    });
}

/// A web process that listens.
pub struct App {
    pub process: Process,
    pub port: u16,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl App {
    pub async fn start(environment: &[(&str, &str)], directory: &Path) -> App {
        let mut environment = environment.to_vec();
        environment.push(("PORT", "0"));
        App::listening(Process::start(&[], &environment, directory)).await
    }

    /// Counts in `hits.db` in `directory`.
    pub async fn with_sqlite(directory: &Path) -> App {
        App::start(&[("HITS_DB", directory.to_str().unwrap())], directory).await
    }

    pub async fn listening(mut process: Process) -> App {
        let line = process.says("listens on").await;
        let address = line.split("listens on 0.0.0.0:").nth(1).unwrap();
        let port = address.split(',').next().unwrap().parse().unwrap();
        App { process, port, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub async fn send(&self, method: &str, path: &str) -> Response<hyper::body::Incoming> {
        let request = Request::builder().method(method).uri(self.url(path)).body(Full::default()).unwrap();
        tokio::time::timeout(DEADLINE, self.client.request(request)).await.unwrap().unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        read(self.send("GET", path).await).await
    }

    /// One page load: its number.
    pub async fn count(&self) -> i64 {
        let answer = self.get("/hits.json").await;
        assert_eq!(answer.status, 200, "{answer:?} {}", self.process.said());
        let json: Value = serde_json::from_slice(&answer.body).unwrap();
        json["hits"].as_i64().unwrap()
    }

    /// The status of a page load, for tests in which it may fail.
    pub async fn load(&self) -> StatusCode {
        self.get("/").await.status
    }
}

pub async fn read(response: Response<hyper::body::Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let body = tokio::time::timeout(DEADLINE, body.collect()).await.unwrap().unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}

/// Waits until `done` answers true.
pub async fn until<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

/// All replicas count at once; every load gets its own number, and together they are 1 to the last.
pub async fn count_together(apps: &[App], loads: usize) {
    let numbers = futures_util::future::join_all(
        apps.iter().flat_map(|app| std::iter::repeat_n(app, loads)).map(App::count),
    );
    let mut numbers = numbers.await;
    numbers.sort_unstable();
    let expected: Vec<i64> = (1..=i64::try_from(apps.len() * loads).unwrap()).collect();
    assert_eq!(numbers, expected, "each number once");
}
