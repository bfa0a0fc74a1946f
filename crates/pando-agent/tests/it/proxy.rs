//! A proxy's control socket, without a proxy behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use pando_routing::{Acknowledgement, EndpointId, ProxyStats, SecretMark, Table};
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

#[derive(Clone)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
}

struct Shared {
    socket: PathBuf,
    stats: watch::Sender<ProxyStats>,
    /// What it answers tables of this revision.
    refusals: Mutex<BTreeMap<u64, (StatusCode, &'static str)>>,
    pushed: watch::Sender<Vec<Table>>,
    server: Mutex<Option<JoinHandle<()>>>,
}

fn fresh() -> ProxyStats {
    ProxyStats {
        boot: Uuid::now_v7(),
        sequence: 1,
        version: None,
        secrets: SecretMark::default(),
        not_in_rotation: BTreeSet::new(),
        in_flight: BTreeMap::new(),
        pools: BTreeMap::new(),
        unmatched: 0,
        hosts_without_certificate: Vec::new(),
        endpoints: Default::default(),
        ejected: Vec::new(),
        why_out: BTreeMap::new(),
    }
}

impl Proxy {
    pub(crate) fn at(socket: &Path) -> Self {
        let shared = Shared {
            socket: socket.to_owned(),
            stats: watch::Sender::new(fresh()),
            refusals: Mutex::default(),
            pushed: watch::Sender::new(Vec::new()),
            server: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Starts with no table, as after the loss of everything.
    pub(crate) fn start(&self) {
        let _ = std::fs::remove_file(&self.shared.socket);
        self.shared.stats.send_replace(fresh());
        let listener = UnixListener::bind(&self.shared.socket).unwrap();
        let router = Router::new()
            .route("/v1/table", put(table))
            .route("/v1/stats", get(stats))
            .with_state(self.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        *self.shared.server.lock().unwrap() = Some(server);
    }

    pub(crate) async fn stop(&self) {
        let server = self.shared.server.lock().unwrap().take();
        if let Some(server) = server {
            server.abort();
            let _ = server.await;
        }
        let _ = std::fs::remove_file(&self.shared.socket);
        // Polls under way end.
        self.shared.stats.send_modify(|stats| stats.sequence += 1);
    }

    pub(crate) fn refuse(&self, revision: u64, status: StatusCode, body: &'static str) {
        self.shared.refusals.lock().unwrap().insert(revision, (status, body));
    }

    /// Something about the rotation changes.
    pub(crate) fn change(&self, change: impl FnOnce(&mut ProxyStats)) {
        self.shared.stats.send_modify(|stats| {
            change(stats);
            stats.sequence += 1;
        });
    }

    pub(crate) fn pushed(&self) -> Vec<u64> {
        self.shared.pushed.borrow().iter().map(|table| table.version.revision).collect()
    }

    /// What was near by the tables that were pushed.
    pub(crate) fn localities(&self) -> Vec<Option<String>> {
        self.shared.pushed.borrow().iter().map(|table| table.locality.clone()).collect()
    }

    /// Versions, and the marks of the keys that they had; empty: none.
    pub(crate) fn keys_pushed(&self) -> Vec<(u64, String)> {
        let told = |table: &Table| {
            assert_eq!(table.secret.has_keys(), !table.secret.mark.is_empty());
            (table.version.revision, table.secret.mark.0.clone())
        };
        self.shared.pushed.borrow().iter().map(told).collect()
    }

    pub(crate) async fn until_pushed(&self, count: usize) {
        let mut pushed = self.shared.pushed.subscribe();
        let enough = pushed.wait_for(|pushed| pushed.len() >= count);
        tokio::time::timeout(Duration::from_secs(20), enough).await.expect("tables in time").unwrap();
    }
}

async fn table(State(proxy): State<Proxy>, Json(table): Json<Table>) -> Response {
    proxy.shared.pushed.send_modify(|pushed| pushed.push(table.clone()));
    let refusal = proxy.shared.refusals.lock().unwrap().get(&table.version.revision).copied();
    if let Some((status, body)) = refusal {
        return (status, body).into_response();
    }
    let not_in_rotation: BTreeSet<EndpointId> = table.endpoints().map(|(_, endpoint)| endpoint.id).collect();
    proxy.shared.stats.send_modify(|stats| {
        stats.version = Some(table.version);
        stats.secrets = table.secret.mark.clone();
        stats.not_in_rotation = not_in_rotation.clone();
        stats.sequence += 1;
    });
    Json(Acknowledgement { version: table.version, not_in_rotation }).into_response()
}

#[derive(Deserialize)]
struct StatsQuery {
    after: u64,
    wait_millis: u64,
}

async fn stats(State(proxy): State<Proxy>, Query(query): Query<StatsQuery>) -> Json<ProxyStats> {
    let mut stats = proxy.shared.stats.subscribe();
    let wait = Duration::from_millis(query.wait_millis);
    let _ = tokio::time::timeout(wait, stats.wait_for(|stats| stats.sequence > query.after)).await;
    let now = stats.borrow().clone();
    Json(now)
}
