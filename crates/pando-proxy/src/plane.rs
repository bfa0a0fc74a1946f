//! What all requests share: the current snapshot, live state, counters, limits.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use pando_routing::balance::hash::SecretKey;
use pando_routing::{EndpointId, Network};
use pando_rt::clock::Clock;
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use tokio::sync::watch;
use uuid::Uuid;

use crate::access_log::LogHandle;
use crate::live::Registry;
use crate::parting::Curfew;
use crate::settings::Limits;
use crate::snapshot::Snapshot;
use crate::stats::sequence::Sequence;
use crate::tls::Tls;
use crate::trace::Tracing;

/// Shared by every connection and by the control side.
#[derive(Debug)]
pub(crate) struct Plane {
    /// Tells one start of the proxy from the next.
    pub(crate) boot: Uuid,
    /// `None` until there is a table.
    pub(crate) snapshot: ArcSwapOption<Snapshot>,
    registry: Mutex<Registry>,
    pub(crate) sequence: Sequence,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    /// What a table without a key of its own goes by.
    pub(crate) key: SecretKey,
    /// Threads that serve.
    pub(crate) workers: usize,
    pub(crate) log: Option<LogHandle>,
    /// `None`: requests belong to no trace of ours.
    pub(crate) tracing: Option<Tracing>,
    /// Some pool's endpoints are told where clients connect to.
    pub(crate) announces: AtomicBool,
    /// Requests that no rule matched.
    pub(crate) unmatched: AtomicU64,
    pub(crate) gauges: Gauges,
    /// `None`: nobody listens for TLS.
    pub(crate) tls: Option<Tls>,
    /// Where requests without TLS are redirected to.
    pub(crate) https_port: Option<u16>,
    /// Who says on whose behalf it connects.
    pub(crate) proxies: Vec<Network>,
    /// What goes on beside requests.
    pub(crate) copies: Tasks,
    /// Begins when the proxy ends, told to or succeeded.
    stop: Shutdown,
    /// Begins when it was told to.
    pub(crate) end: Shutdown,
    /// Until when connections that live for long may go on, once it ends.
    parting: watch::Sender<Option<Curfew>>,
    /// Requests under way in proxies that this one has taken over from.
    elsewhere: Mutex<BTreeMap<EndpointId, u64>>,
}

/// Figures of the process.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) open_connections: AtomicU64,
    pub(crate) accepted_connections: AtomicU64,
    /// Of HTTP/1: malformed, too large, or too late to be a request.
    pub(crate) refused_heads: AtomicU64,
    /// Of addresses that had as many as they may.
    pub(crate) refused_connections: AtomicU64,
    /// Ended for want of places, while they waited for nothing.
    pub(crate) displaced_connections: AtomicU64,
    pub(crate) open_tunnels: AtomicU64,
    pub(crate) refused_tables: AtomicU64,
    /// By version, see [`crate::tls::VERSIONS`].
    pub(crate) handshakes: [AtomicU64; 2],
    /// Those among them that needed no signature.
    pub(crate) resumed_handshakes: AtomicU64,
    /// By reason, see [`crate::tls::HandshakeError::REASONS`].
    pub(crate) failed_handshakes: [AtomicU64; 5],
    /// Of proxies that did not say on whose behalf they connect.
    pub(crate) refused_proxies: AtomicU64,
}

impl Plane {
    pub(crate) fn new(
        limits: Limits,
        key: SecretKey,
        workers: usize,
        log: Option<LogHandle>,
        end: &Shutdown,
    ) -> Self {
        Self {
            boot: Uuid::now_v7(),
            snapshot: ArcSwapOption::empty(),
            registry: Mutex::new(Registry::new(workers)),
            sequence: Sequence::default(),
            clock: Clock::system(),
            limits,
            key,
            workers,
            log,
            tracing: None,
            announces: AtomicBool::new(false),
            unmatched: AtomicU64::new(0),
            gauges: Gauges::default(),
            tls: None,
            https_port: None,
            proxies: Vec::new(),
            copies: Tasks::new(end),
            stop: end.child(),
            end: end.clone(),
            parting: watch::Sender::new(None),
            elsewhere: Mutex::default(),
        }
    }

    /// The same, for a proxy that listens for TLS, or stands before one that does.
    pub(crate) fn with_tls(self, tls: Option<Tls>, https_port: Option<u16>) -> Self {
        Self { tls, https_port, ..self }
    }

    /// The same, with requests traced.
    pub(crate) fn with_tracing(self, tracing: Option<Tracing>) -> Self {
        Self { tracing, ..self }
    }

    /// The same, behind these.
    pub(crate) fn with_proxies(self, proxies: Vec<Network>) -> Self {
        Self { proxies, ..self }
    }

    /// The same, with a parent for what goes on beside requests.
    pub(crate) fn with_copies(self, copies: Tasks) -> Self {
        Self { copies, ..self }
    }

    /// Whether a connection from there begins with a PROXY header.
    pub(crate) fn is_proxied(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|proxies| proxies.covers(address))
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        // The registry is changed in one go by code that doesn't panic.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn current(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    /// What clients' connections listen to: begins when the proxy ends, told to or succeeded.
    pub(crate) fn stop(&self) -> &Shutdown {
        &self.stop
    }

    /// Says until when connections that live for long may go on.
    pub(crate) fn part(&self, curfew: Curfew) {
        self.parting.send_replace(Some(curfew));
    }

    pub(crate) fn parting(&self) -> watch::Receiver<Option<Curfew>> {
        self.parting.subscribe()
    }

    /// How many requests are under way in proxies that this one has taken over from.
    pub(crate) fn set_elsewhere(&self, counts: BTreeMap<EndpointId, u64>) {
        for endpoint in self.registry().endpoints() {
            endpoint.set_elsewhere(counts.get(&endpoint.id).copied().unwrap_or(0));
        }
        *self.elsewhere() = counts;
        self.sequence.bump();
    }

    pub(crate) fn elsewhere(&self) -> MutexGuard<'_, BTreeMap<EndpointId, u64>> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From the shutdown on answers ask clients to close their connections.
    pub(crate) fn is_ending(&self) -> bool {
        self.stop.has_begun()
    }
}
