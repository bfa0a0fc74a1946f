//! An exchange with an endpoint that speaks HTTP/2, as bytes of HTTP/1.
//!
//! Whoever carries an exchange out writes a request and reads an answer as over any other connection; what it writes was
//! made by ourselves, what it reads is made here. A stream carries one exchange, and says so (`Connection: close`).

mod answer;
mod ask;
mod pool;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use pando_http::{Decoder, Framing, HeadScan, Method, RequestHead, Scanned};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http2::{acceptance, broken, poll_room};
use pool::Connection;
pub(crate) use pool::Streams;

/// One exchange.
#[derive(Debug)]
pub(crate) struct Stream {
    send_request: SendRequest<Bytes>,
    /// Lives as long as somebody uses it.
    connection: Arc<Connection>,
    /// What was written of the request's head.
    head: Vec<u8>,
    scan: HeadScan,
    send: Option<SendStream<Bytes>>,
    decoder: Decoder,
    /// Bytes of the body at the start of what is written next.
    available: usize,
    request_ended: bool,
    response: Option<ResponseFuture>,
    receive: Option<RecvStream>,
    /// The answer's body goes in chunks.
    chunked: bool,
    response_ended: bool,
    /// What is to be read.
    out: Vec<u8>,
    read: usize,
    /// It is an answer to HEAD that is waited for.
    is_head: bool,
    /// A WebSocket is asked for; what its handshake is answered with.
    websocket: Option<String>,
    /// The endpoint has said that it did nothing.
    refused: bool,
    /// The request could not be sent.
    failed: Option<io::ErrorKind>,
}

impl Stream {
    fn new(send_request: SendRequest<Bytes>, connection: Arc<Connection>) -> Self {
        Self {
            send_request,
            connection,
            head: Vec::new(),
            scan: HeadScan::default(),
            send: None,
            decoder: Decoder::default(),
            available: 0,
            request_ended: false,
            response: None,
            receive: None,
            chunked: false,
            response_ended: false,
            out: Vec::new(),
            read: 0,
            is_head: false,
            websocket: None,
            refused: false,
            failed: None,
        }
    }

    /// Whether the endpoint takes WebSockets over its streams (RFC 8441). Its settings are waited for, at most so long.
    pub(crate) fn takes_websockets(&self, patience: Duration) -> impl Future<Output = bool> + use<> {
        let (send, connection) = (self.send_request.clone(), Arc::clone(&self.connection));
        async move {
            if !send.is_extended_connect_protocol_enabled() {
                // Out of patience: as if it had said no.
                let _ = tokio::time::timeout(patience, connection.settled()).await;
            }
            send.is_extended_connect_protocol_enabled()
        }
    }

    /// Whether the endpoint has turned the request away unread (RFC 9113, 8.7).
    pub(crate) fn was_refused(&self) -> bool {
        self.refused
    }

    fn fail(&mut self, error: h2::Error) -> io::Error {
        let is_goodbye = error.is_go_away() && error.is_remote();
        self.refused |= is_goodbye || error.reason() == Some(h2::Reason::REFUSED_STREAM);
        if !error.is_reset() {
            self.connection.leave();
        }
        broken(error)
    }

    /// Nothing of the request was sent, nor will be.
    fn fail_to_send(&mut self, error: h2::Error) -> Poll<io::Result<usize>> {
        self.refused = true;
        self.connection.leave();
        let error = self.fail(error);
        self.failed = Some(error.kind());
        Poll::Ready(Err(error))
    }

    /// Sends the head once it is whole. How many of `bytes` belong to it.
    fn poll_head(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Err(error) = ready!(self.send_request.poll_ready(cx)) {
            return self.fail_to_send(error);
        }
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Scanned::Whole { len, .. } = self.scan.strictly(&self.head) else {
            return Poll::Ready(Ok(bytes.len()));
        };
        self.head.truncate(len);
        let mut head = RequestHead::default();
        let limits = ask::limits();
        // We have written it ourselves.
        head.read(&self.head, &limits)
            .map_err(|refusal| io::Error::new(io::ErrorKind::InvalidInput, refusal))?;
        let mut request: Request<()> =
            ask::request(&head, &self.head).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.decoder = Decoder::from(head.framing);
        self.request_ended = head.framing == Framing::Empty;
        if let Some(key) = ask::websocket_key(&head, &self.head) {
            self.websocket = Some(acceptance(key));
            self.request_ended = false;
            ask::extend(&mut request);
        }
        match self.send_request.send_request(request, self.request_ended) {
            Ok((response, send)) => (self.response, self.send) = (Some(response), Some(send)),
            Err(error) => return self.fail_to_send(error),
        }
        self.is_head = head.method == Method::Head;
        self.head = Vec::new();
        Poll::Ready(Ok(len - before))
    }

    /// Bytes of a WebSocket, as they are.
    fn poll_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(send) = &mut self.send else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(poll_room(send, cx, bytes.len()))?;
        send.send_data(Bytes::copy_from_slice(&bytes[..room]), false).map_err(broken)?;
        Poll::Ready(Ok(room))
    }

    /// One piece of the body, or of its framing.
    fn poll_body(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(send) = &mut self.send else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        if self.available > 0 {
            let wanted = self.available.min(bytes.len());
            let room = ready!(poll_room(send, cx, wanted))?;
            self.available -= room;
            let end = self.available == 0 && self.decoder.is_done() && self.decoder.trailers().is_none();
            send.send_data(Bytes::copy_from_slice(&bytes[..room]), end).map_err(broken)?;
            self.request_ended = end;
            return Poll::Ready(Ok(room));
        }
        let piece =
            self.decoder.decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.available = piece.data.len();
        if self.available == 0 && self.decoder.is_done() && !std::mem::replace(&mut self.request_ended, true)
        {
            match self.decoder.trailers() {
                Some(trailers) => send.send_trailers(ask::trailers(trailers)),
                None => send.send_data(Bytes::new(), true),
            }
            .map_err(broken)?;
        }
        // The data itself is sent by the next call, where there is some.
        match piece.data.start {
            0 if self.available > 0 => self.poll_body(cx, bytes),
            start => Poll::Ready(Ok(start)),
        }
    }

    /// Puts more into `out`, or finds that there is no more.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(receive) = &mut self.receive {
            return match ready!(receive.poll_data(cx)) {
                Some(Ok(mut piece)) => {
                    let count = piece.len();
                    answer::piece(&mut self.out, &piece, self.chunked);
                    piece.advance(count);
                    // Failing means that the stream is over, which the next poll tells.
                    let _ = receive.flow_control().release_capacity(count);
                    Poll::Ready(Ok(()))
                }
                Some(Err(error)) => Poll::Ready(Err(self.fail(error))),
                None => {
                    let trailers = ready!(receive.poll_trailers(cx)).map_err(broken)?;
                    self.response_ended = true;
                    if self.chunked {
                        answer::end(&mut self.out, trailers.as_ref());
                    }
                    Poll::Ready(Ok(()))
                }
            };
        }
        let Some(response) = &mut self.response else {
            // The request is still to be written: whoever does asks again.
            return self.failed.map_or(Poll::Pending, |kind| Poll::Ready(Err(kind.into())));
        };
        if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
            let interim = interim.map_err(|error| self.fail(error))?;
            answer::interim(&mut self.out, interim.status(), interim.headers());
            return Poll::Ready(Ok(()));
        }
        match ready!(Pin::new(response).poll(cx)) {
            Ok(response) => {
                let (head, receive) = response.into_parts();
                self.response_ended = receive.is_end_stream();
                let has_body = !self.response_ended;
                match &self.websocket {
                    Some(acceptance) if head.status.is_success() => {
                        answer::switched(&mut self.out, &head.headers, acceptance);
                    }
                    _ => self.chunked = answer::head(&mut self.out, &head, has_body, self.is_head),
                }
                self.receive = Some(receive);
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(self.fail(error))),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.note_use();
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.send {
            None => this.poll_head(cx, bytes),
            Some(_) if this.websocket.is_some() => this.poll_bytes(cx, bytes),
            Some(_) => this.poll_body(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let (Some(send), Some(_), false) = (&mut this.send, &this.websocket, this.request_ended) {
            this.request_ended = true;
            send.send_data(Bytes::new(), true).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.read == this.out.len() {
            this.out.clear();
            this.read = 0;
            if this.response_ended {
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_answer(cx))?;
        }
        let count = (this.out.len() - this.read).min(buf.remaining());
        buf.put_slice(&this.out[this.read..this.read + count]);
        this.read += count;
        Poll::Ready(Ok(()))
    }
}
