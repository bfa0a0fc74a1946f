//! Clients of HTTP/2: the `h2` crate's, and one that says exactly what it is told to.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::within;

/// A connection of the `h2` crate's.
#[derive(Debug)]
pub(crate) struct Http2 {
    pub(crate) send: SendRequest<Bytes>,
    pub(crate) running: JoinHandle<Result<(), h2::Error>>,
}

/// An answer, read to its end.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(crate) fn request(method: &str, path: &str) -> Request<()> {
    let uri = format!("http://a.example{path}");
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

impl Http2 {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::with(address, &Builder::new()).await
    }

    pub(crate) async fn with(address: SocketAddr, builder: &Builder) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream, builder).await
    }

    pub(crate) async fn over<S>(stream: S, builder: &Builder) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (send, connection) = within("a handshake", builder.handshake(stream)).await.unwrap();
        Self { send, running: tokio::spawn(connection) }
    }

    /// Sends a head; `end`: nothing follows.
    pub(crate) async fn begin(&self, request: Request<()>, end: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut send = within("room for a stream", self.send.clone().ready()).await.unwrap();
        send.send_request(request, end).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(request("GET", path)).await.expect("a whole answer")
    }

    pub(crate) async fn ask(&self, request: Request<()>) -> Result<Answer, h2::Error> {
        let (response, _) = self.begin(request, true).await;
        within("an answer", answer(response)).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        let (response, send) = self.begin(request("POST", path), false).await;
        let body = body.into();
        let sending = tokio::spawn(async move { upload(send, body).await });
        let answer = within("an answer", answer(response)).await.expect("a whole answer");
        sending.await.unwrap().unwrap();
        answer
    }

    /// Waits until the server has ended the connection.
    pub(crate) async fn end(self) -> Result<(), h2::Error> {
        drop(self.send);
        within("the end of the connection", self.running).await.unwrap()
    }
}

/// Sends all of it, as the windows allow.
pub(crate) async fn upload(mut send: SendStream<Bytes>, mut body: Bytes) -> Result<(), h2::Error> {
    while !body.is_empty() {
        send.reserve_capacity(body.len());
        let Some(room) = std::future::poll_fn(|cx| send.poll_capacity(cx)).await else { return Ok(()) };
        let piece = body.split_to(room?.min(body.len()));
        send.send_data(piece, false)?;
    }
    send.send_data(Bytes::new(), true)
}

pub(crate) async fn answer(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, body) = response.await?.into_parts();
    read(Response::from_parts(head, body)).await
}

/// The rest of an answer.
pub(crate) async fn read(response: Response<RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut body) = response.into_parts();
    let mut answer = Answer { status: head.status.as_u16(), headers: head.headers, ..Answer::default() };
    while let Some(piece) = body.data().await {
        let piece = piece?;
        answer.body.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    answer.trailers = body.trailers().await?.unwrap_or_default();
    Ok(answer)
}

/// A connection that says what it is told, frame by frame.
#[derive(Debug)]
pub(crate) struct Frames {
    pub(crate) stream: TcpStream,
}

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) id: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, id: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, id, payload: payload.into() }
    }

    /// A whole head, in the plainest of all encodings.
    pub(crate) fn headers(id: u32, flags: u8, fields: &[(&str, &str)]) -> Self {
        Self::new(1, flags | END_HEADERS, id, block(fields))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap();
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The error code of a RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == 7 { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A header block of literals that nobody remembers.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// RFC 7541, 5.1, with a prefix of 7 bits.
fn integer(out: &mut Vec<u8>, mut number: usize) {
    if number < 127 {
        return out.push(u8::try_from(number).unwrap());
    }
    out.push(127);
    number -= 127;
    while number >= 128 {
        out.push(u8::try_from(number % 128).unwrap() | 128);
        number /= 128;
    }
    out.push(u8::try_from(number).unwrap());
}

/// The fields that every request has.
pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")];

impl Frames {
    /// The preface and empty settings are sent.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut frames = Self { stream };
        let mut first = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        first.extend(Frame::new(4, 0, 0, []).bytes());
        frames.write(&first).await.unwrap();
        frames
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("sending", self.stream.write_all(bytes)).await
    }

    pub(crate) async fn send(&mut self, frame: &Frame) {
        self.write(&frame.bytes()).await.unwrap();
    }

    /// `None`: the connection is over.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        within("a frame", async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, id @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some(Frame { kind, flags, id: u32::from_be_bytes(id), payload })
        })
        .await
    }

    /// The next frame of that kind; whatever comes before is passed over.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The code that the server ends the connection with.
    pub(crate) async fn goaway(&mut self) -> Option<u32> {
        self.next_of(7).await.map(|frame| frame.code())
    }
}
