//! A client that says exactly what it is told to, and reads what HTTP/1.1 answers.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::within;

/// One connection to the proxy.
#[derive(Debug)]
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: BufReader<S>,
}

/// An answer, read to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) version: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within("sending", self.stream.get_mut().write_all(bytes.as_ref())).await.unwrap();
    }

    /// `GET path` for the host `a.example`, and the whole answer.
    pub(crate) async fn get(&mut self, path: &str) -> Response {
        self.request(&format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n")).await
    }

    pub(crate) async fn request(&mut self, text: &str) -> Response {
        self.send(text).await;
        if text.starts_with("HEAD") { self.head().await } else { self.response().await }
    }

    /// The next answer, whole.
    pub(crate) async fn response(&mut self) -> Response {
        within("an answer", self.try_response()).await.expect("a whole answer")
    }

    /// Status line and headers; the body is still to come.
    pub(crate) async fn head(&mut self) -> Response {
        within("a head", self.try_head()).await.expect("a whole head")
    }

    /// `None` when the connection ended before the answer did.
    pub(crate) async fn try_response(&mut self) -> Option<Response> {
        let mut response = self.try_head().await?;
        if matches!(response.status, 204 | 304) || response.status < 200 {
            return Some(response);
        }
        if response.header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            while let Some(chunk) = self.chunk().await? {
                response.body.extend(chunk);
            }
            response.trailers = self.fields().await?;
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().unwrap();
            response.body = vec![0; length];
            self.stream.read_exact(&mut response.body).await.ok()?;
        } else {
            self.stream.read_to_end(&mut response.body).await.ok()?;
        }
        Some(response)
    }

    pub(crate) async fn try_head(&mut self) -> Option<Response> {
        let line = self.line().await?;
        let mut words = line.splitn(3, ' ');
        let version = words.next()?.to_owned();
        let status = words.next()?.parse().ok()?;
        Some(Response { status, version, headers: self.fields().await?, ..Response::default() })
    }

    /// The next chunk of a chunked body; `Some(None)` is its end.
    pub(crate) async fn chunk(&mut self) -> Option<Option<Vec<u8>>> {
        let size = usize::from_str_radix(self.line().await?.split(';').next()?, 16).ok()?;
        if size == 0 {
            return Some(None);
        }
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).await.ok()?;
        chunk.truncate(size);
        Some(Some(chunk))
    }

    async fn fields(&mut self) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(fields);
            }
            let (name, value) = line.split_once(':')?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).await.ok()?;
        line.ends_with(b"\r\n").then(|| String::from_utf8(line[..line.len() - 2].to_vec()).unwrap())
    }

    /// Waits for the other side to close; what it still sends is returned.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = within("the end of the connection", self.stream.read_to_end(&mut rest)).await;
        rest
    }
}
