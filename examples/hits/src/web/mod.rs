//! The web process: routes, health, and a stop that cuts nobody off.
//!
//! On SIGTERM it stops accepting, ends WebSockets and endless streams politely,
//! finishes every other request, and only then returns.

mod assets;
mod page;
mod socket;
mod stream;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::counter::Counter;
use crate::mode::{Mode, SLOW_ANSWER};
use crate::settings::{Settings, Who};
use crate::stop::StopSignals;

/// What every request may look at.
struct App {
    who: Who,
    mode: Mode,
    counter: Counter,
    assets: PathBuf,
    /// Raised once, when the process has been told to stop.
    stopping: CancellationToken,
    /// WebSockets outlive the request that opened them; they are waited for here.
    sockets: TaskTracker,
    health_checks: AtomicU64,
}

pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut stop = StopSignals::listen()?;
    settings.mode.before_start().await?;
    let counter = Counter::open(&settings.store).await?;
    if let Err(error) = counter.prepare().await {
        eprintln!("hits: the count is not available yet: {error:#}");
    }
    let listener = listen(settings.port).await?;
    announce(&settings.who, &listener, &counter)?;

    let app = Arc::new(App::new(&settings, counter));
    let stopping = app.stopping.clone();
    let server = axum::serve(listener, router(app.clone()))
        .with_graceful_shutdown(async move { stopping.cancelled().await })
        .into_future();
    let mut server = std::pin::pin!(server);
    tokio::select! {
        result = &mut server => return result.context("serving"),
        crash = settings.mode.crash() => return Err(crash),
        signal = stop.recv() => println!("hits: {signal}: finishing open requests"),
    }
    app.stopping.cancel();
    app.sockets.close();
    let finished = async { tokio::join!(server, app.sockets.wait()).0 };
    match tokio::time::timeout(settings.drain, finished).await {
        Ok(result) => result.context("finishing open requests")?,
        Err(_) => bail!("requests were still open after {} s; they were cut", settings.drain.as_secs()),
    }
    println!("hits: stopped");
    Ok(())
}

async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    TcpListener::bind(address).await.with_context(|| format!("listening on {address} (PORT={port})"))
}

fn announce(who: &Who, listener: &TcpListener, counter: &Counter) -> anyhow::Result<()> {
    let address = listener.local_addr().context("reading the address")?;
    let (replica, release, store) = (&who.replica, &who.release, counter.describe());
    println!("hits: {replica} {release} listens on {address}, counting in {store}");
    Ok(())
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(show_page).head(show_page))
        .route("/hits.json", get(show_json).head(show_json))
        .route("/assets/{name}", get(assets::show))
        .route("/health", get(health))
        .route("/slow", get(stream::slow))
        .route("/stream", get(stream::ticks))
        .route("/bytes", get(stream::bytes))
        .route("/echo", post(stream::echo))
        .route("/ws", get(socket::upgrade))
        .layer(axum::middleware::from_fn_with_state(app.clone(), sign))
        .with_state(app)
}

impl App {
    fn new(settings: &Settings, counter: Counter) -> App {
        App {
            who: settings.who.clone(),
            mode: settings.mode,
            counter,
            assets: settings.assets.clone(),
            stopping: CancellationToken::new(),
            sockets: TaskTracker::new(),
            health_checks: AtomicU64::new(0),
        }
    }

    /// A `GET` is a page load and counts; a `HEAD` only looks.
    async fn hits(&self, method: &Method) -> Result<i64, Unavailable> {
        let hits =
            if method == Method::HEAD { self.counter.read().await } else { self.counter.count().await };
        hits.map_err(Unavailable)
    }

    fn is_healthy(&self) -> bool {
        if self.stopping.is_cancelled() {
            return false;
        }
        match self.mode {
            Mode::Unhealthy => false,
            Mode::Flaky => self.health_checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(2),
            Mode::Ok | Mode::Slow | Mode::Crash | Mode::CrashLater => true,
        }
    }
}

async fn show_page(State(app): State<Arc<App>>, method: Method) -> Result<Html<String>, Unavailable> {
    let hits = app.hits(&method).await?;
    Ok(Html(page::render(hits, &app.who, &app.counter.describe())))
}

async fn show_json(
    State(app): State<Arc<App>>,
    method: Method,
) -> Result<Json<serde_json::Value>, Unavailable> {
    let hits = app.hits(&method).await?;
    let who = &app.who;
    Ok(Json(serde_json::json!({
        "hits": hits,
        "replica": who.replica,
        "instance": who.instance,
        "release": who.release,
        "server": who.server,
    })))
}

/// Says whether this process can answer. Deliberately not whether the database can: if it is
/// away, taking every replica out of the balancer would help nobody.
async fn health(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    match app.is_healthy() {
        true => (StatusCode::OK, "ok\n"),
        false if app.stopping.is_cancelled() => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy, as the mode asks\n"),
    }
}

/// Puts on every answer who gave it, and makes a slow release slow.
async fn sign(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.mode == Mode::Slow {
        tokio::time::sleep(SLOW_ANSWER).await;
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        ("x-hits-replica", &app.who.replica),
        ("x-hits-instance", &app.who.instance),
        ("x-hits-release", &app.who.release),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// The count cannot be had: the load was not counted, and the visitor may try again.
struct Unavailable(anyhow::Error);

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        eprintln!("hits: a page load was not counted: {:#}", self.0);
        let text = "The count is not available just now. Please try again.\n";
        (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], text).into_response()
    }
}
