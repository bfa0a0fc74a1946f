//! Puts the parts together and takes them apart again.
//!
//! Two groups of tasks: the clients' end with the shutdown, gracefully; what they
//! need meanwhile (probes, statistics, the log) ends after them.

use std::sync::Arc;
use std::time::Duration;

use crate::control::{self, Control, ControlSocket};
use crate::error::ProxyError;
use crate::plane::Plane;
use crate::serve::Entrance;
use crate::settings::Settings;
use crate::tables::{Tables, file, restore};
use crate::tls::{self, Tls};
use crate::worker::Workers;
use crate::{access_log, balance, listen};
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;

/// For tasks that were told to end at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// Serves until `shutdown` begins, lets requests under way end (at most `limits.drain`), and returns.
///
/// Clients are served by threads of its own; the rest runs on the current tokio runtime, which needs its IO and time drivers.
/// Everything that it starts has ended when it
/// returns.
///
/// # Errors
/// What keeps it from starting: nothing to listen on, a control socket, log or table file that can't be used.
pub async fn run(settings: Settings, shutdown: Shutdown) -> Result<(), ProxyError> {
    let until_clients_left = Shutdown::new();
    let background = Tasks::new(&until_clients_left);
    let started = start(settings, &shutdown, &background).await;
    if let Ok((clients, workers, drain, socket)) = started {
        shutdown.wait().await;
        if !clients.finish(drain).await {
            tracing::warn!(
                connections = clients.len(),
                "closing connections whose requests did not end in time"
            );
        }
        workers.end().await;
        background.finish(PATIENCE).await;
        drop(socket);
        return Ok(());
    }
    background.finish(PATIENCE).await;
    started.map(|_| ())
}

type Started = (Tasks, Workers, Duration, Option<ControlSocket>);

async fn start(settings: Settings, shutdown: &Shutdown, background: &Tasks) -> Result<Started, ProxyError> {
    if settings.listeners.is_empty() && settings.tls_listeners.is_empty() {
        return Err(ProxyError::NoListener);
    }
    let plane = make_plane(&settings, shutdown, background)?;
    let tables = Tables::new(Arc::clone(&plane), settings.state_file.clone(), background.clone());
    let tables = Arc::new(tables);
    first_table(&settings, &tables, background).await?;
    let socket = start_control(&settings, &plane, &tables, background)?;
    let Settings { listeners, tls_listeners, metrics_listener, limits, table_file, .. } = settings;
    if let Some(listener) = metrics_listener {
        let listener = listen::into_async(listener).map_err(|source| ProxyError::Listener { source })?;
        let control = Arc::new(Control { plane: Arc::clone(&plane), tables, table_file });
        background.spawn_until_shutdown(control::serve_metrics(listener, control, background.clone()));
    }
    background.spawn_until_shutdown(sweep(Arc::clone(&plane)));
    background.spawn_until_shutdown(balance::tick::run(Arc::clone(&plane)));
    let clients = Tasks::new(shutdown);
    let room = listen::room(limits.connections);
    if plane.tls.is_some() {
        background.spawn_until_shutdown(tls::rotate(Arc::clone(&plane)));
    }
    let plain = listeners.into_iter().map(|listener| (listener, Entrance { tls: false }));
    let secured = tls_listeners.into_iter().map(|listener| (listener, Entrance { tls: true }));
    let listeners = plain.chain(secured).collect();
    let workers = Workers::start(listeners, room, &plane, &clients).await;
    let workers = workers.map_err(|source| ProxyError::Worker { source })?;
    Ok((clients, workers, limits.drain, socket))
}

fn make_plane(
    settings: &Settings,
    shutdown: &Shutdown,
    background: &Tasks,
) -> Result<Arc<Plane>, ProxyError> {
    let log = settings.access_log.as_ref().map(access_log::open).transpose()?.map(|(handle, writer)| {
        background.spawn(writer.run(background.shutdown().clone()));
        handle
    });
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = settings.workers.unwrap_or_else(cores);
    let key = balance::key::load(settings.state_file.as_deref());
    let plane = Plane::new(settings.limits.clone(), key, workers, log, shutdown.clone());
    let own_port = || Some(settings.tls_listeners.first()?.local_addr().ok()?.port());
    let tls = if settings.tls_listeners.is_empty() { None } else { Some(Tls::new()?) };
    let plane = plane.with_tls(tls, settings.https_port.or_else(own_port));
    let plane = plane.with_proxies(settings.proxy_protocol_from.clone());
    Ok(Arc::new(plane.with_copies(background.clone())))
}

/// From the file, if there is one; else what was in use when the proxy ran last.
async fn first_table(
    settings: &Settings,
    tables: &Arc<Tables>,
    background: &Tasks,
) -> Result<(), ProxyError> {
    if let Some(path) = &settings.table_file {
        let held = file::start(tables, path).await?;
        background.spawn_until_shutdown(file::watch(Arc::clone(tables), path.clone(), held));
        return Ok(());
    }
    if let Some(table) = settings.state_file.as_deref().and_then(restore::read) {
        // It was checked when it was read.
        if let Err(refusal) = tables.install(table).await {
            tracing::error!(%refusal, "the last table cannot be used");
        }
    }
    Ok(())
}

fn start_control(
    settings: &Settings,
    plane: &Arc<Plane>,
    tables: &Arc<Tables>,
    background: &Tasks,
) -> Result<Option<ControlSocket>, ProxyError> {
    let Some(path) = settings.control_socket.clone() else { return Ok(None) };
    let failed = |source| ProxyError::ControlSocket { path: path.clone(), source };
    let (socket, listener) = control::bind(path.clone()).map_err(failed)?;
    let listener = tokio::net::UnixListener::from_std(listener).map_err(failed)?;
    let control = Control {
        plane: Arc::clone(plane),
        tables: Arc::clone(tables),
        table_file: settings.table_file.clone(),
    };
    background.spawn_until_shutdown(control::serve_socket(listener, Arc::new(control), background.clone()));
    Ok(Some(socket))
}

/// Closes idle connections to endpoints that are too old or were closed at the other end.
async fn sweep(plane: Arc<Plane>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let endpoints: Vec<_> = plane.registry().endpoints().cloned().collect();
        endpoints.iter().for_each(|endpoint| endpoint.idle.sweep());
    }
}
