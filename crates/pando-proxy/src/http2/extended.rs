//! WebSockets over a stream (RFC 8441): what HTTP/1 needs of a handshake and HTTP/2 leaves out, and the stream as bytes.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};
use pando_http::{ResponseHead, write};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::{broken, poll_room};

/// RFC 6455, 1.3.
const SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The nonce of a handshake that we begin at the endpoint.
#[derive(Debug)]
pub(super) struct Key(String);

impl Key {
    /// One that nobody can foretell.
    pub(super) fn new() -> Self {
        let noise = RandomState::new();
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&noise.hash_one(0u8).to_le_bytes());
        nonce[8..].copy_from_slice(&noise.hash_one(1u8).to_le_bytes());
        Self(STANDARD.encode(nonce))
    }

    /// Appends the fields that make a request a handshake.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
        write::field(out, b"sec-websocket-key", self.0.as_bytes());
    }

    /// Whether that is the handshake's other half.
    pub(super) fn is_answered_by(&self, head: &ResponseHead, bytes: &[u8]) -> bool {
        let mut fields = head.fields.iter();
        let accept = fields
            .find(|field| field.name.bytes(bytes).eq_ignore_ascii_case(b"sec-websocket-accept"))
            .map(|field| field.value.bytes(bytes));
        head.status == 101 && accept == Some(self.answer().as_bytes())
    }

    fn answer(&self) -> String {
        acceptance(self.0.as_bytes())
    }
}

/// What who takes part in a handshake with that key has to answer.
pub(crate) fn acceptance(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(SALT).finalize())
}

/// A stream that carries bytes both ways.
#[derive(Debug)]
pub(crate) struct StreamIo {
    pub(super) receive: RecvStream,
    pub(super) send: SendStream<Bytes>,
    pub(super) piece: Bytes,
    pub(super) ended: bool,
}

impl AsyncRead for StreamIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.piece.is_empty() {
            match ready!(this.receive.poll_data(cx)) {
                Some(piece) => this.piece = piece.map_err(broken)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = this.piece.len().min(buf.remaining());
        buf.put_slice(&this.piece[..count]);
        this.piece.advance(count);
        this.receive.flow_control().release_capacity(count).map_err(broken)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(poll_room(&mut this.send, cx, buf.len()))?;
        this.send.send_data(Bytes::copy_from_slice(&buf[..room]), false).map_err(broken)?;
        Poll::Ready(Ok(room))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.ended, true) {
            this.send.send_data(Bytes::new(), true).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_answered_as_the_standard_says() {
        let key = Key("dGhlIHNhbXBsZSBub25jZQ==".to_owned());
        assert_eq!(key.answer(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let answers = |status: &str, accept: &str| {
            let text = format!(
                "HTTP/1.1 {status} X\r\nupgrade: websocket\r\nconnection: upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            let mut head = ResponseHead::default();
            let limits = pando_http::Limits::default();
            head.read(text.as_bytes(), pando_http::Method::Get, &limits).unwrap();
            key.is_answered_by(&head, text.as_bytes())
        };
        assert!(answers("101", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(!answers("101", "s3pPLMBiTxaQ9kYGzzhZRbK+xOO="));
        assert!(!answers("200", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn keys_differ() {
        let keys: std::collections::HashSet<_> = (0..1000).map(|_| Key::new().0).collect();
        assert_eq!(keys.len(), 1000);
        assert!(keys.iter().all(|key| STANDARD.decode(key).unwrap().len() == 16));
    }
}
