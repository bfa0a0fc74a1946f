//! Clients of four kinds, none of which may ever notice anything: keep-alive, one connection a request, HTTP/2, WebSockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(20);

/// Goes on until it is stopped; a failure of any kind fails the test then.
pub(super) struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    requests: AtomicU64,
    moved: AtomicU64,
    messages: AtomicU64,
}

/// What was done.
#[derive(Debug)]
pub(super) struct Tally {
    #[allow(dead_code, reason = "for who reads the output")]
    pub(super) requests: u64,
    /// Connections that were replaced since the load balancer asked for it.
    pub(super) moved: u64,
    #[allow(dead_code, reason = "for who reads the output")]
    pub(super) messages: u64,
}

impl Load {
    /// Three clients of each kind, and so many WebSockets.
    pub(super) fn start(address: SocketAddr, sockets: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let in_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(address, sockets, in_thread));
        });
        let load = Self { shared, thread };
        load.wait_for_requests(20);
        load
    }

    #[track_caller]
    pub(super) fn wait_for_requests(&self, more: u64) {
        let goal = self.shared.requests.load(SeqCst) + more;
        let deadline = Instant::now() + PATIENCE;
        while self.shared.requests.load(SeqCst) < goal {
            assert!(!self.thread.is_finished(), "a client has failed; see above");
            assert!(Instant::now() < deadline, "no traffic");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Every WebSocket is still open by then.
    #[track_caller]
    pub(super) fn stop(self) -> Tally {
        self.shared.stop.store(true, SeqCst);
        self.thread.join().expect("a client has failed; see above");
        let Shared { requests, moved, messages, .. } = &*self.shared;
        Tally { requests: requests.load(SeqCst), moved: moved.load(SeqCst), messages: messages.load(SeqCst) }
    }
}

async fn run(address: SocketAddr, sockets: usize, shared: Arc<Shared>) {
    let mut clients = JoinSet::new();
    for _ in 0..3 {
        clients.spawn(keep_alive(address, Arc::clone(&shared)));
        clients.spawn(new_connections(address, Arc::clone(&shared)));
        clients.spawn(http2(address, Arc::clone(&shared)));
    }
    for _ in 0..sockets {
        clients.spawn(websocket(address, Arc::clone(&shared)));
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stop.load(SeqCst)
    }
}

/// Whether the connection can be used again.
async fn get(stream: &mut BufReader<TcpStream>, more: &str) -> bool {
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{more}\r\n");
    let asking = async {
        stream.get_mut().write_all(request.as_bytes()).await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).await.unwrap() > 0, "the answer broke off: {head:?}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut body = [0; 2];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"ok");
        !head.to_ascii_lowercase().contains("connection: close")
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("an answer in time")
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("no connection is refused");
    stream.set_nodelay(true).unwrap();
    stream
}

async fn keep_alive(address: SocketAddr, shared: Arc<Shared>) {
    while shared.goes_on() {
        let mut stream = BufReader::new(connect(address).await);
        while get(&mut stream, "").await && shared.goes_on() {
            shared.requests.fetch_add(1, SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        shared.moved.fetch_add(1, SeqCst);
    }
}

async fn new_connections(address: SocketAddr, shared: Arc<Shared>) {
    while shared.goes_on() {
        let mut stream = BufReader::new(connect(address).await);
        get(&mut stream, "connection: close\r\n").await;
        shared.requests.fetch_add(1, SeqCst);
    }
}

async fn http2(address: SocketAddr, shared: Arc<Shared>) {
    while shared.goes_on() {
        let (send, connection) = h2::client::handshake(connect(address).await).await.unwrap();
        let driving = tokio::spawn(connection);
        while shared.goes_on() {
            // A connection that takes no more streams is replaced.
            let Ok(mut ready) = send.clone().ready().await else { break };
            let request = http::Request::get("http://a/").body(()).unwrap();
            let Ok((answer, _)) = ready.send_request(request, true) else { break };
            match answer.await {
                Ok(answer) => whole(answer).await,
                // It was not looked at, and the client was told so.
                Err(error) if error.is_go_away() && error.is_remote() => break,
                Err(error) => panic!("a request over HTTP/2 has failed: {error}"),
            }
            shared.requests.fetch_add(1, SeqCst);
        }
        drop(send);
        let _ = driving.await;
    }
}

async fn whole(answer: http::Response<h2::RecvStream>) {
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece: Bytes = piece.unwrap();
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(bytes, b"ok");
}

async fn websocket(address: SocketAddr, shared: Arc<Shared>) {
    let (mut socket, _) =
        tokio_tungstenite::client_async("ws://a/chat", connect(address).await).await.unwrap();
    let mut number = 0;
    while shared.goes_on() {
        number += 1;
        let text = number.to_string();
        socket.send(Message::text(text.clone())).await.expect("the WebSocket is open");
        let answer = tokio::time::timeout(PATIENCE, socket.next()).await.expect("an echo in time");
        assert_eq!(answer.unwrap().unwrap().to_text().unwrap(), text);
        shared.messages.fetch_add(1, SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
