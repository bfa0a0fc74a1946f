//! What the tests share: a proxy, origins and a client, each on a real socket.

mod client;
mod control;
pub(crate) mod http2;
mod origin;
pub(crate) mod protobuf;
mod secure;
mod table;
mod tls;
pub(crate) mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pando_proxy::{Door, Listeners, Notice, Predecessor, ProxyError, Settings};
use pando_rt::shutdown::Shutdown;
use tokio::task::JoinHandle;

pub(crate) use client::{Client, Response};
pub(crate) use origin::{App, Origin, Respond};
pub(crate) use secure::{Authority, SecureApp, Setup};
pub(crate) use table::{NOBODY, TableBuilder, at, endpoint, far};
pub(crate) use tls::{Caller, Issued, Secure, TlsProxy};

/// Whatever is waited for happens within this, or the test fails.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A proxy in this process.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) directory: Arc<tempfile::TempDir>,
    pub(crate) shutdown: Shutdown,
    running: JoinHandle<Result<(), ProxyError>>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    /// `adjust` gets the settings and the proxy's directory.
    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Settings, &std::path::Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::start_in(directory, adjust).await
    }

    pub(crate) async fn start_in(
        directory: impl Into<Arc<tempfile::TempDir>>,
        adjust: impl FnOnce(&mut Settings, &std::path::Path),
    ) -> Self {
        let directory = directory.into();
        let listeners = Listeners::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let socket = directory.path().join("control.sock");
        let mut settings = Settings { listeners, control_socket: Some(socket), ..Settings::default() };
        adjust(&mut settings, directory.path());
        let shutdown = Shutdown::new();
        let running = tokio::spawn(pando_proxy::run(settings, shutdown.clone()));
        let proxy = Self { address, directory, shutdown, running };
        until("the control socket answers", async || proxy.try_control("GET", "/v1/stats", "").await.is_ok())
            .await;
        proxy
    }

    /// Another proxy takes this one's place; it comes back when that one serves.
    pub(crate) async fn succeed(&self, adjust: impl FnOnce(&mut Settings)) -> Self {
        let socket = self.directory.path().join("control.sock");
        let mut predecessor = Predecessor::meet(&socket).await.unwrap().expect("the one before is there");
        let listeners = predecessor.take(Door::Plain, Some(self.address));
        assert_eq!(listeners.len(), 1);
        let tls_listeners = predecessor.take(Door::Tls, None);
        let (notices, mut told) = tokio::sync::mpsc::channel(2);
        let mut settings = Settings {
            listeners,
            tls_listeners,
            control_socket: Some(socket),
            predecessor: Some(predecessor),
            notices: Some(notices),
            ..Settings::default()
        };
        adjust(&mut settings);
        let shutdown = Shutdown::new();
        let running = tokio::spawn(pando_proxy::run(settings, shutdown.clone()));
        assert_eq!(within("the successor serves", told.recv()).await, Some(Notice::Serving));
        Self { address: self.address, directory: Arc::clone(&self.directory), shutdown, running }
    }

    /// Waits until the proxy has ended by itself.
    pub(crate) async fn ended(self) {
        within("the proxy ends by itself", self.running).await.unwrap().unwrap();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client().await.get(path).await
    }

    /// Ends the proxy; its directory lives on.
    pub(crate) async fn stop(self) -> Arc<tempfile::TempDir> {
        self.shutdown.begin();
        within("the proxy ends", self.running).await.unwrap().unwrap();
        self.directory
    }
}

/// Waits for `future`, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {SOON:?}"),
    }
}

/// Asks again and again until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}: not within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An address where nobody listens, at least for now.
pub(crate) fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
