//! Puts the parts together and takes them apart again.
//!
//! Two groups of tasks: the clients' end with the shutdown, or when another proxy serves in the place of this one, gracefully; what
//! they need meanwhile (probes, statistics, the log) ends after them.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use crate::control::{self, Control, ControlSocket, Unplaced};
use crate::error::ProxyError;
use crate::files;
use crate::handover::{Door, Giver, HeldDoor, Inheritance, Left, Notice, Waiting};
use crate::parting::Curfew;
use crate::plane::Plane;
use crate::serve::Entrance;
use crate::settings::Settings;
use crate::tables::{Tables, file, restore};
use crate::tls::{self, Tls};
use crate::trace::Tracing;
use crate::worker::Workers;
use crate::{access_log, balance, burst, listen};
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use tokio::sync::mpsc;

/// For tasks that were told to end at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// For what ends at its deadline to say goodbye.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How long a proxy without clients still answers whoever asked it last, such as for its successor.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// Serves until `shutdown` begins, lets requests under way end (at most `limits.drain`), and returns; or until another proxy has
/// taken over, and the last connection has ended (at most `limits.handover`).
///
/// Clients are served by threads of its own; the rest runs on the current tokio runtime, which needs its IO and time drivers.
/// Everything that it starts has ended when it
/// returns.
///
/// # Errors
/// What keeps it from starting: nothing to listen on, a control socket, log or table file that can't be used. A proxy that it was to
/// take over from goes on then.
pub async fn run(settings: Settings, shutdown: Shutdown) -> Result<(), ProxyError> {
    let until_clients_left = Shutdown::new();
    let background = Tasks::new(&until_clients_left);
    let started = start(settings, &shutdown, &background).await;
    let ended = match started {
        Ok(started) => {
            started.stay(&shutdown).await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    background.finish(PATIENCE).await;
    ended
}

/// A proxy that serves.
struct Started {
    plane: Arc<Plane>,
    tables: Arc<Tables>,
    giver: Arc<Giver>,
    clients: Tasks,
    workers: Workers,
    /// Held for as long as the proxy can be asked.
    _socket: Option<ControlSocket>,
}

impl Started {
    async fn stay(self, shutdown: &Shutdown) {
        self.plane.stop().wait().await;
        self.giver.close_doors();
        let all_left = shutdown.has_begun() || self.leave(shutdown).await;
        if !all_left || shutdown.has_begun() {
            self.plane.part(Curfew::now(self.plane.clock.now_millis()));
            if !self.clients.finish(self.plane.limits.drain).await {
                tracing::warn!(
                    connections = self.clients.len(),
                    "closing connections whose requests did not end in time"
                );
            }
        }
        self.workers.end().await;
    }

    /// Another proxy has taken over. False: it was told to end before all clients, and the proxies before it, had gone.
    async fn leave(&self, shutdown: &Shutdown) -> bool {
        let most = self.plane.limits.handover.saturating_add(LAST_WORDS);
        let clients = async {
            let all = self.clients.finish(most).await;
            if !all {
                tracing::warn!(
                    connections = self.clients.len(),
                    "closing connections that did not end in time"
                );
            }
            if let Some(elder) = self.tables.elder() {
                // It began to leave before this one did.
                let _ = tokio::time::timeout(LAST_WORDS, elder.gone()).await;
            }
        };
        let clients = async { tokio::join!(clients, tokio::time::sleep(LAST_ANSWERS)) };
        tokio::select! {
            _ = clients => true,
            () = shutdown.wait() => false,
        }
    }
}

async fn start(
    mut settings: Settings,
    shutdown: &Shutdown,
    background: &Tasks,
) -> Result<Started, ProxyError> {
    if settings.listeners.is_empty() && settings.tls_listeners.is_empty() {
        return Err(ProxyError::NoListener);
    }
    let (mut inherited, waiting) =
        settings.predecessor.take().map(crate::handover::Predecessor::part).unzip();
    let plane = make_plane(&settings, inherited.as_ref(), shutdown, background)?;
    let tables = Arc::new(Tables::new(Arc::clone(&plane), settings.state_file.clone(), background.clone()));
    if let Some(inherited) = &mut inherited {
        tables.inherit(std::mem::take(&mut inherited.endpoints));
    }
    first_table(&settings, inherited, &tables, background).await?;
    let giver =
        Giver::new(&plane, &tables, doors(&settings)?, plane.stop().clone(), settings.notices.clone());
    let giver = Arc::new(giver);
    let bound = bind_control(&settings)?;
    let clients = Tasks::new(plane.stop());
    let control = Arc::new(Control {
        plane: Arc::clone(&plane),
        tables: Arc::clone(&tables),
        table_file: settings.table_file.take(),
        giver: Arc::clone(&giver),
        successor: settings.successor.take(),
        tasks: background.clone(),
    });
    let (notices, path) = (settings.notices.take(), settings.control_socket.take());
    let metrics = settings.metrics_listener.take().map(listen::into_async).transpose();
    let metrics = metrics.map_err(|source| ProxyError::Listener { source })?;
    files::prepare(settings.limits.connections);
    let workers = Workers::start(entrances(settings), &plane, &clients).await;
    let workers = workers.map_err(|source| ProxyError::Worker { source })?;
    // From here on nothing fails: an elder goes on until all of the above is there.
    let (socket, listener) = match (bound, path) {
        (Some((unplaced, listener)), Some(path)) => {
            let failed = |source| ProxyError::ControlSocket { path, source };
            (Some(unplaced.place().map_err(failed)?), Some(listener))
        }
        _ => (None, None),
    };
    start_background(&plane, background);
    workers.open();
    if let Some(waiting) = waiting {
        succeed(waiting, &plane, &tables, background).await;
    }
    if let Some(listener) = metrics {
        background.spawn(control::serve_metrics(listener, Arc::clone(&control), plane.stop().clone()));
    }
    if let Some(listener) = listener {
        background.spawn(control::serve_socket(listener, control, plane.stop().clone()));
    }
    tell(notices.as_ref());
    Ok(Started { plane, tables, giver, clients, workers, _socket: socket })
}

fn tell(notices: Option<&mpsc::Sender<Notice>>) {
    if let Some(notices) = notices {
        // Nobody need listen.
        let _ = notices.try_send(Notice::Serving);
    }
}

/// The elder takes no more connections; what it does yet is watched from here.
async fn succeed(waiting: Waiting, plane: &Arc<Plane>, tables: &Arc<Tables>, background: &Tasks) {
    let Some(Left { table, in_flight, elder, line }) = waiting.serving().await else { return };
    plane.set_elsewhere(in_flight);
    background.spawn_until_shutdown(line.run(Arc::clone(plane)));
    if let Some(table) = table {
        // It was in use there; the elder's word is as good as our own.
        if let Err(refusal) = tables.install(table).await {
            tracing::error!(%refusal, "the last table of the proxy before this one cannot be used");
        }
    }
    tables.pass_on_to(elder);
}

fn start_background(plane: &Arc<Plane>, background: &Tasks) {
    background.spawn_until_shutdown(sweep(Arc::clone(plane)));
    background.spawn_until_shutdown(burst::watch(Arc::clone(plane)));
    background.spawn_until_shutdown(balance::tick::run(Arc::clone(plane)));
    if plane.tls.is_some() {
        background.spawn_until_shutdown(tls::rotate(Arc::clone(plane)));
    }
}

fn entrances(settings: Settings) -> Vec<(TcpListener, Entrance)> {
    let plain = settings.listeners.into_iter().map(|listener| (listener, Entrance { tls: false }));
    let secured = settings.tls_listeners.into_iter().map(|listener| (listener, Entrance { tls: true }));
    plain.chain(secured).collect()
}

/// What a successor will be given.
fn doors(settings: &Settings) -> Result<Vec<HeldDoor>, ProxyError> {
    let plain = settings.listeners.iter().map(|listener| (Door::Plain, listener));
    let tls = settings.tls_listeners.iter().map(|listener| (Door::Tls, listener));
    let metrics = settings.metrics_listener.iter().map(|listener| (Door::Metrics, listener));
    let all = plain.chain(tls).chain(metrics).map(|(door, listener)| HeldDoor::beside(door, listener));
    all.collect::<Result<_, _>>().map_err(|source| ProxyError::Listener { source })
}

fn make_plane(
    settings: &Settings,
    inherited: Option<&Inheritance>,
    shutdown: &Shutdown,
    background: &Tasks,
) -> Result<Arc<Plane>, ProxyError> {
    let log = settings.access_log.as_ref().map(access_log::open).transpose()?.map(|(handle, writer)| {
        background.spawn(writer.run(background.shutdown().clone()));
        handle
    });
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = settings.workers.unwrap_or_else(cores);
    let key = match (inherited, &settings.state_file) {
        (Some(inherited), None) => inherited.balancing_key,
        (_, file) => balance::key::load(file.as_deref()),
    };
    let plane = Plane::new(settings.limits.clone(), key, workers, log, shutdown);
    let own_port = || Some(settings.tls_listeners.first()?.local_addr().ok()?.port());
    let tls = if settings.tls_listeners.is_empty() { None } else { Some(Tls::new()?) };
    if let (Some(tls), Some(inherited)) = (&tls, inherited) {
        tls.inherit(&inherited.ticket_keys);
    }
    let plane = plane.with_tls(tls, settings.https_port.or_else(own_port));
    let plane = plane.with_proxies(settings.proxy_protocol_from.clone());
    let tracing =
        settings.tracing.as_ref().map(|settings| trace(settings, &plane, background)).transpose()?;
    let plane = plane.with_tracing(tracing);
    Ok(Arc::new(plane.with_copies(background.clone())))
}

/// Spans have a parent that brings them away.
fn trace(
    settings: &crate::settings::Tracing,
    plane: &Plane,
    background: &Tasks,
) -> Result<Tracing, ProxyError> {
    let (tracing, exporter) = Tracing::new(settings, &plane.boot.to_string())?;
    if let Some(exporter) = exporter {
        background.spawn(exporter.run(background.shutdown().clone()));
    }
    Ok(tracing)
}

/// From the file, if there is one; else what the proxy before this one uses, or used when it ran last.
async fn first_table(
    settings: &Settings,
    inherited: Option<Inheritance>,
    tables: &Arc<Tables>,
    background: &Tasks,
) -> Result<(), ProxyError> {
    if let Some(path) = &settings.table_file {
        let held = file::start(tables, path).await?;
        background.spawn_until_shutdown(file::watch(Arc::clone(tables), path.clone(), held));
        return Ok(());
    }
    if let Some(table) = inherited.and_then(|inherited| inherited.table) {
        let failed = |refusal| {
            let path = settings.control_socket.clone().unwrap_or_default();
            ProxyError::TakeOver { path, source: std::io::Error::other(refusal) }
        };
        tables.install(table).await.map_err(failed)?;
    } else if let Some(table) = settings.state_file.as_deref().and_then(restore::read) {
        // It was checked when it was read.
        if let Err(refusal) = tables.install(table).await {
            tracing::error!(%refusal, "the last table cannot be used");
        }
    }
    Ok(())
}

type BoundControl = (Unplaced, tokio::net::UnixListener);

fn bind_control(settings: &Settings) -> Result<Option<BoundControl>, ProxyError> {
    let Some(path) = settings.control_socket.clone() else { return Ok(None) };
    let failed = |source| ProxyError::ControlSocket { path: path.clone(), source };
    let (socket, listener) = control::bind(path.clone()).map_err(failed)?;
    let listener = tokio::net::UnixListener::from_std(listener).map_err(failed)?;
    Ok(Some((socket, listener)))
}

/// Closes idle connections to endpoints that are too old or were closed at the other end.
async fn sweep(plane: Arc<Plane>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let endpoints: Vec<_> = plane.registry().endpoints().cloned().collect();
        for endpoint in endpoints {
            endpoint.idle.sweep();
            endpoint.streams.sweep(plane.limits.upstream_idle);
        }
    }
}
