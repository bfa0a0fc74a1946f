//! Constant load from a real HTTP client, with keep-alive and without, that looks at every byte of every answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: JoinHandle<Tally>,
}

/// What came of the load.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    /// The first hundred.
    pub(crate) failures: Vec<String>,
    pub(crate) failed: u64,
    /// Could not even connect.
    pub(crate) refused: u64,
    /// Good answers, by the release that gave them, such as `v2`.
    pub(crate) releases: BTreeMap<String, u64>,
}

impl Tally {
    /// Prints the figures, and insists that no more than `most` failed.
    #[track_caller]
    pub(crate) fn check(&self, what: &str, most: u64) {
        println!(
            "{what}: {} requests, {} failed; answers by {:?}",
            self.requests, self.failed, self.releases
        );
        assert!(self.failed <= most, "{what}: {} of {}: {:#?}", self.failed, self.requests, self.failures);
    }
}

impl Load {
    /// `clients` with keep-alive and as many without, one request after the other each, until stopped.
    pub(crate) fn start(address: &str, clients: usize) -> Self {
        Self::start_for(address, address, clients)
    }

    /// As [`Load::start`], asking for a host that the address answers.
    pub(crate) fn start_for(host: &str, address: &str, clients: usize) -> Self {
        let (host, address) = (host.to_owned(), address.to_owned());
        let load = Self::run(Goal { host, address, path: None }, clients);
        load.wait_for_requests(20);
        load
    }

    fn run(goal: Goal, clients: usize) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&count));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(goal, clients, stopped, counted))
        });
        Self { stop, count, thread }
    }

    /// One client that always has a request of so many milliseconds under way.
    pub(crate) fn start_slow(host: &str, address: &str, millis: u64) -> Self {
        let (host, address) = (host.to_owned(), address.to_owned());
        Self::run(Goal { host, address, path: Some(format!("/slow?ms={millis}")) }, 1)
    }

    /// Waits until so many more requests were answered.
    pub(crate) fn wait_for_requests(&self, more: u64) {
        let goal = self.count.load(Ordering::Relaxed) + more;
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while self.count.load(Ordering::Relaxed) < goal {
            assert!(std::time::Instant::now() < deadline, "the load does not get through");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }

    /// Stops and insists that not one request failed; how many there were.
    pub(crate) fn stop_flawless(self) -> u64 {
        let tally = self.stop();
        assert_eq!(tally.failed, 0, "of {} requests: {:#?}", tally.requests, tally.failures);
        tally.requests
    }
}

/// Who is asked, and for what.
#[derive(Debug, Clone)]
struct Goal {
    host: String,
    address: String,
    /// `None`: those whose answers are known byte by byte.
    path: Option<String>,
}

async fn run(goal: Goal, clients: usize, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) -> Tally {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..clients * 2 {
        let keep_alive = number.is_multiple_of(2);
        tasks.spawn(client(goal.clone(), keep_alive, number, Arc::clone(&stop), Arc::clone(&count)));
    }
    let mut tally = Tally::default();
    while let Some(part) = tasks.join_next().await {
        let part = part.unwrap();
        tally.requests += part.requests;
        tally.failed += part.failed;
        tally.refused += part.refused;
        tally.failures.extend(part.failures);
        for (release, count) in part.releases {
            *tally.releases.entry(release).or_default() += count;
        }
    }
    tally.failures.truncate(100);
    tally
}

async fn client(
    goal: Goal,
    keep_alive: bool,
    number: usize,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
) -> Tally {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new());
    if !keep_alive {
        builder.pool_max_idle_per_host(0);
    }
    let client: Client<_, Empty<Bytes>> = builder.build_http();
    let mut tally = Tally::default();
    let mut turn = number;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        tally.requests += 1;
        let result = match tokio::time::timeout(PATIENCE, ask(&client, &goal, keep_alive, turn)).await {
            Ok(result) => result,
            Err(_) => Err("no answer in time".to_owned()),
        };
        count.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(release) => *tally.releases.entry(release).or_default() += 1,
            Err(why) => {
                tally.failed += 1;
                tally.refused += u64::from(why.contains("refused"));
                if tally.failures.len() < 20 {
                    tally.failures.push(format!("client {number} (keep-alive {keep_alive}): {why}"));
                }
            }
        }
        // A steady stream that leaves the machine room to deploy.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    tally
}

type HttpClient = Client<hyper_util::client::legacy::connect::HttpConnector, Empty<Bytes>>;

/// A small answer, or one of 20 KB whose every byte is known; which release gave it.
async fn ask(client: &HttpClient, goal: &Goal, keep_alive: bool, turn: usize) -> Result<String, String> {
    let (path, length) = match &goal.path {
        Some(path) => (path.as_str(), None),
        None if turn.is_multiple_of(3) => ("/bytes?n=20000", Some(20_000)),
        None => ("/hits.json", None),
    };
    let mut request = http::Request::get(format!("http://{}{path}", goal.address));
    request = request.header("host", &goal.host);
    if !keep_alive {
        request = request.header("connection", "close");
    }
    let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
    let response = client.request(request).await.map_err(|error| chain(&error))?;
    let status = response.status();
    let release = response.headers().get("x-hits-release").and_then(|value| value.to_str().ok());
    let release = release.unwrap_or("nobody").to_owned();
    let body = response.into_body().collect().await.map_err(|error| chain(&error))?.to_bytes();
    if status != 200 {
        return Err(format!(
            "{status}: {}",
            String::from_utf8_lossy(&body).chars().take(300).collect::<String>()
        ));
    }
    match length {
        Some(length) if body.len() != length => Err(format!("{} bytes of {length}", body.len())),
        Some(_) => whole(&body).map(|()| release),
        None if goal.path.is_some() || body.starts_with(b"{") && body.ends_with(b"}") => Ok(release),
        None => Err(format!("not whole: {body:?}")),
    }
}

fn whole(body: &[u8]) -> Result<(), String> {
    let wrong = body.iter().enumerate().find(|(place, byte)| usize::from(**byte) != place % 251);
    wrong.map_or(Ok(()), |(place, _)| Err(format!("byte {place} is wrong")))
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
