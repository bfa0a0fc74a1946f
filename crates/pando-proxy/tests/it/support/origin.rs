//! Servers to balance to: a well-behaved one that speaks HTTP by the book, and one that does what it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use pando_routing::Endpoint;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{SOON, endpoint};

/// A body that an app answers with.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What an app does with a request.
pub(crate) type Respond = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A request as the app saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A server on a port of its own that runs `serve` for each connection, until dropped.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Origin {
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                serving.spawn(serve(stream, number));
            }
        });
        Self { address, accepting }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        endpoint(self.address)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A well-behaved app: HTTP/1.1 with keep-alive, and a graceful end.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Endpoint,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    stop: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl App {
    /// Answers 200 with `name` and remembers what it saw.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::answering(move |_| Response::new(Bytes::from(name))).await
    }

    /// Reads the whole request, remembers it, and answers what `answer` says.
    pub(crate) async fn answering(answer: impl Fn(&Seen) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let memory = Arc::clone(&seen);
        let answer = Arc::new(answer);
        let mut app = Self::serving(move |request| {
            let (memory, answer) = (Arc::clone(&memory), Arc::clone(&answer));
            Box::pin(async move {
                let (head, body) = request.into_parts();
                let Ok(body) = body.collect().await else {
                    let mut bad = Response::new(Full::default().boxed_unsync());
                    *bad.status_mut() = StatusCode::BAD_REQUEST;
                    return bad;
                };
                let (method, target, headers) = (head.method, head.uri.to_string(), head.headers);
                let seen = Seen { method, target, headers, body: body.to_bytes() };
                let response = answer(&seen);
                memory.lock().unwrap().push(seen);
                response.map(|bytes| Full::new(bytes).boxed_unsync())
            })
        })
        .await;
        app.seen = seen;
        app
    }

    pub(crate) async fn serving(
        respond: impl Fn(Request<Incoming>) -> Respond + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, respond)
    }

    pub(crate) fn on(
        listener: TcpListener,
        respond: impl Fn(Request<Incoming>) -> Respond + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (stop, connections) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let running = run(listener, Arc::new(respond), stop.clone(), Arc::clone(&connections));
        let running = Some(tokio::spawn(running));
        let (endpoint, seen) = (endpoint(address), Arc::default());
        Self { address, endpoint, seen, connections, stop, running }
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().expect("a request was seen").clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// As a replica does on SIGTERM: accepts no more, closes idle connections, finishes requests.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let running = self.running.take().unwrap();
        tokio::time::timeout(SOON, running).await.expect("the app ends").unwrap();
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

async fn run(
    listener: TcpListener,
    respond: Arc<dyn Fn(Request<Incoming>) -> Respond + Send + Sync>,
    stop: CancellationToken,
    connections: Arc<AtomicUsize>,
) {
    let graceful = GracefulShutdown::new();
    let mut serving = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted.unwrap(),
            () = stop.cancelled() => break,
        };
        connections.fetch_add(1, SeqCst);
        stream.set_nodelay(true).unwrap();
        let respond = Arc::clone(&respond);
        let service = service_fn(move |request| {
            let response = respond(request);
            async move { Ok::<_, Infallible>(response.await) }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        serving.spawn(async move {
            // A client that breaks off is the tests' business, not the app's.
            let _ = connection.await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
