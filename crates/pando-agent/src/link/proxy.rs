//! The line to this server's load balancer, over its Unix socket.
//!
//! The newest table is pushed at once, and again whenever the load balancer was
//! restarted with an older one. What it uses, sends to and has under way comes
//! back by long poll.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use pando_model::id::{InstanceId, Version};
use pando_model::observed::{ProxyStatus, TableRefusal};
use pando_routing::{ProxyStats, Table, TableVersion};
use pando_rt::shutdown::Shutdown;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

/// Counters alone wake no poll; they are asked for so often.
const WAIT_MILLIS: u64 = 1000;
/// One exchange, the wait included.
const PATIENCE: Duration = Duration::from_secs(8);
/// Until a load balancer that is away is asked again: its keeper brings it back within 200 ms.
const RETRY: Duration = Duration::from_millis(25);
/// The longest answer.
const MAX_ANSWER: usize = 64 << 20;

/// Where the load balancer is, and who hears of it.
#[derive(Debug)]
pub struct ProxyLink {
    pub socket: PathBuf,
    /// The newest table; `None` until there is one.
    pub tables: watch::Receiver<Option<Arc<Table>>>,
    /// Told whenever what it says changes.
    pub statuses: mpsc::Sender<ProxyStatus>,
    pub stats: watch::Sender<Option<Arc<ProxyStats>>>,
}

/// What a push came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pushed {
    Taken,
    Refused(TableRefusal),
}

impl ProxyLink {
    /// Keeps the load balancer at the newest table and listens to it, until the shutdown.
    pub async fn run(self, shutdown: Shutdown) {
        let (refusals, refused) = watch::channel(None);
        let (versions, held) = watch::channel(None);
        let push = push(self.socket.clone(), self.tables, held, refusals);
        let listen = Listen {
            socket: self.socket,
            statuses: self.statuses,
            stats: self.stats,
            versions,
            refused,
            last: None,
        };
        tokio::select! {
            // Nothing is lost by dropping the halves: a next start pushes the newest table and asks anew.
            () = shutdown.wait() => {}
            () = push => {}
            () = listen.run() => {}
        }
    }
}

/// The load balancer as it was last heard: which run of it, and its table.
type Held = Option<(uuid::Uuid, Option<TableVersion>)>;

/// Pushes the newest table when there is a newer one, or the load balancer came back with an older one.
async fn push(
    socket: PathBuf,
    mut tables: watch::Receiver<Option<Arc<Table>>>,
    mut held: watch::Receiver<Held>,
    refusals: watch::Sender<Option<TableRefusal>>,
) {
    let mut taken: Held = None;
    loop {
        let table = tables.borrow_and_update().clone();
        let boot = held.borrow_and_update().map(|(boot, _)| boot);
        if let Some(table) = table.filter(|table| needs(table, taken, boot)) {
            match put(&socket, &table).await {
                Ok(Pushed::Taken) => {
                    taken = boot.map(|boot| (boot, Some(table.version)));
                    refusals.send_replace(None);
                }
                Ok(Pushed::Refused(refusal)) => {
                    tracing::error!(
                        "the load balancer refuses table {}: {:?}",
                        refusal.version,
                        refusal.reasons
                    );
                    taken = boot.map(|boot| (boot, Some(table.version)));
                    refusals.send_replace(Some(refusal));
                }
                Err(_) => {
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
        }
        tokio::select! {
            // Both arms are cancel-safe: what changed stays marked.
            changed = tables.changed() => if changed.is_err() { std::future::pending::<()>().await },
            changed = held.changed() => if changed.is_err() { std::future::pending::<()>().await },
        }
    }
}

fn needs(table: &Table, taken: Held, boot: Option<uuid::Uuid>) -> bool {
    match (taken, boot) {
        (Some((before, version)), Some(now)) => before != now || version != Some(table.version),
        _ => true,
    }
}

struct Listen {
    socket: PathBuf,
    statuses: mpsc::Sender<ProxyStatus>,
    stats: watch::Sender<Option<Arc<ProxyStats>>>,
    versions: watch::Sender<Held>,
    refused: watch::Receiver<Option<TableRefusal>>,
    last: Option<ProxyStatus>,
}

impl Listen {
    async fn run(mut self) {
        let (mut after, mut boot, mut silent) = (0, None, 0_u32);
        loop {
            let path = format!("/v1/stats?after={after}&wait_millis={WAIT_MILLIS}");
            let answer = tokio::select! {
                answer = get(&self.socket, &path) => Some(answer),
                // A refusal is news too; the poll is asked again, which loses nothing.
                changed = self.refused.changed() => if changed.is_ok() { None } else { return },
            };
            match answer {
                Some(Ok(stats)) => {
                    silent = 0;
                    after = if boot == Some(stats.boot) { stats.sequence.max(after) } else { stats.sequence };
                    boot = Some(stats.boot);
                    self.hear(stats).await;
                }
                // One failed try is a restart or a busy moment; two in a row are told.
                Some(Err(_)) => {
                    silent += 1;
                    after = 0;
                    if silent == 2 {
                        let lost = ProxyStatus { alive: false, ..self.last.clone().unwrap_or_default() };
                        self.tell(lost).await;
                    }
                    tokio::time::sleep(RETRY).await;
                }
                None => {
                    let refused = self.refused.borrow().clone();
                    let last = self.last.clone().unwrap_or_default();
                    self.tell(ProxyStatus { refused, ..last }).await;
                }
            }
        }
    }

    async fn hear(&mut self, stats: ProxyStats) {
        let held = Some((stats.boot, stats.version));
        self.versions.send_if_modified(|known| {
            let changed = *known != held;
            *known = held;
            changed
        });
        let status = status(&stats, self.refused.borrow().clone());
        self.stats.send_replace(Some(Arc::new(stats)));
        self.tell(status).await;
    }

    async fn tell(&mut self, status: ProxyStatus) {
        // How many requests are under way changes all the time; only whether there are any is news.
        let gist = |status: &ProxyStatus| {
            let busy: Vec<InstanceId> = status.in_flight.keys().copied().collect();
            (ProxyStatus { in_flight: BTreeMap::new(), ..status.clone() }, busy)
        };
        if self.last.as_ref().map(gist) != Some(gist(&status)) {
            // The agent's loop ends before its links do.
            let _ = self.statuses.send(status.clone()).await;
        }
        self.last = Some(status);
    }
}

fn status(stats: &ProxyStats, refused: Option<TableRefusal>) -> ProxyStatus {
    let version = |version: TableVersion| Version::new(version.epoch, version.revision);
    ProxyStatus {
        alive: true,
        acknowledged: stats.version.map(version),
        refused,
        not_in_rotation: stats.not_in_rotation.iter().map(|id| InstanceId::from_uuid(id.0)).collect(),
        in_flight: stats.in_flight.iter().map(|(id, count)| (InstanceId::from_uuid(id.0), *count)).collect(),
    }
}

async fn put(socket: &Path, table: &Table) -> Result<Pushed, LinkError> {
    let body = serde_json::to_vec(table).map_err(LinkError::Json)?;
    let (status, answer) = exchange(socket, Method::PUT, "/v1/table", body).await?;
    match status {
        StatusCode::OK => Ok(Pushed::Taken),
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::PAYLOAD_TOO_LARGE => {
            let version = Version::new(table.version.epoch, table.version.revision);
            Ok(Pushed::Refused(TableRefusal { version, reasons: reasons(&answer) }))
        }
        other => Err(LinkError::Status(other)),
    }
}

/// The proxy answers with a list of reasons, or an object that holds one, or plain text.
fn reasons(answer: &[u8]) -> Vec<String> {
    let value: Option<serde_json::Value> = serde_json::from_slice(answer).ok();
    let list = value.as_ref().and_then(|value| value.as_array().or_else(|| value.get("reasons")?.as_array()));
    match list {
        Some(list) => {
            list.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
        }
        None => vec![String::from_utf8_lossy(answer).trim().chars().take(2000).collect()],
    }
}

async fn get(socket: &Path, path: &str) -> Result<ProxyStats, LinkError> {
    let (status, answer) = exchange(socket, Method::GET, path, Vec::new()).await?;
    if status != StatusCode::OK {
        return Err(LinkError::Status(status));
    }
    serde_json::from_slice(&answer).map_err(LinkError::Json)
}

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("can't reach the load balancer")]
    Connect(#[source] std::io::Error),
    #[error("the exchange with the load balancer broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the load balancer did not answer in time")]
    TimedOut,
    #[error("the load balancer answered {0}")]
    Status(StatusCode),
    #[error("the load balancer's answer is not understood")]
    Json(#[source] serde_json::Error),
}

/// One request on a connection of its own; a few each second at most.
async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), LinkError> {
    let whole = async {
        let stream = UnixStream::connect(socket).await.map_err(LinkError::Connect)?;
        let broken = |error: hyper::Error| LinkError::Broken(error.into());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request = Request::builder().method(method).uri(path).header("host", "proxy");
        let request =
            request.body(Full::new(Bytes::from(body))).map_err(|error| LinkError::Broken(error.into()))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body =
                Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(LinkError::Broken)?;
            // Without the sender the connection ends, and this exchange with it.
            drop(sender);
            Ok::<_, LinkError>((status, body.to_bytes()))
        };
        // The connection is driven here, beside the request, so that no task is left behind.
        let (_, answer) = tokio::join!(connection, answer);
        answer
    };
    tokio::time::timeout(PATIENCE, whole).await.map_err(|_| LinkError::TimedOut)?
}
