//! A connection to an endpoint.
//!
//! There is no task behind it: the connection is driven by whoever uses it, the
//! request while it waits for the answer's head and the answer's body after that.
//! Dropping it closes it. So nothing outlives a request that was given up, and an
//! answer crosses no channel between threads.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::stream::Stream;
use super::upload::{Progress, Upload};
use crate::time::{Alarm, span, ticks};

/// Bytes of an answer's head, and of what is read ahead of a slow client.
const READ_BUFFER: usize = 256 << 10;

/// In ticks. An answer that takes longer is worth a look whether its machine is still there.
const LOOK_AFTER: u64 = 500;

/// A connection to an endpoint, idle or in the middle of one exchange.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Stream,
    sender: SendRequest<Upload>,
    /// `None` once it is over for HTTP.
    connection: Option<Box<Connection<TokioIo<Stream>, Upload>>>,
    /// What came after the last HTTP byte.
    leftover: Bytes,
    upload: Option<Arc<Progress>>,
}

/// How long an exchange may wait; see [`pando_routing::Timeouts`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    pub(crate) response: Duration,
    pub(crate) idle: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// Here the request is again, whole.
    #[error("the connection was over before the request went out")]
    NotSent(Box<Request<Upload>>),
    #[error("the connection ended without a byte of an answer: {0}")]
    Unanswered(String),
    #[error("the endpoint's machine is not there any more")]
    Gone,
    #[error("the connection broke, or what came is not HTTP: {0}")]
    Broken(String),
    #[error("no head of an answer in time, or no progress with the request's body")]
    Silent,
    #[error("the client stopped sending the request's body")]
    ClientStalled,
    #[error("the request's body broke off or was malformed")]
    ClientBroken,
}

impl Link {
    /// # Errors
    /// Whatever connecting answers; `TimedOut` after `patience`.
    pub(crate) async fn open(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let connecting = tokio::time::timeout(patience, TcpStream::connect(address));
        let tcp = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let stream = Stream::to_endpoint(tcp);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ_BUFFER);
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream.clone())).await.map_err(io::Error::other)?;
        let connection = Some(Box::new(connection));
        Ok(Self { stream, sender, connection, leftover: Bytes::new(), upload: None })
    }

    /// Whether the last exchange is over on both sides and another may follow.
    pub(super) fn is_free(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Whether it can take a request now: it is free, and the peer is there.
    pub(crate) fn is_reusable(&mut self) -> bool {
        self.is_free() && !self.was_closed_by_peer()
    }

    /// Whether an idle connection was closed, or misused, by the endpoint.
    pub(crate) fn was_closed_by_peer(&self) -> bool {
        self.stream.has_anything_to_read()
    }

    /// Sends `request` and waits for the head of the answer. Where nothing was heard of it for a while, it is not waited for any
    /// longer once `is_gone`.
    pub(crate) async fn exchange(
        &mut self,
        mut request: Request<Upload>,
        waits: Waits,
        is_gone: impl Fn() -> bool,
    ) -> Result<Response<Incoming>, ExchangeError> {
        prepare(&mut request);
        self.upload = request.body().progress();
        let watch = Watch { progress: self.upload.clone(), started: ticks(), waits };
        self.stream.meter().listen_anew();
        let mut answer = pin!(self.sender.try_send_request(request));
        let (mut alarm, mut look) = (Alarm::default(), watch.started.saturating_add(LOOK_AFTER));
        let end = poll_fn(|cx| {
            let answered = self.poll_answer(answer.as_mut(), cx).map(Ok);
            if answered.is_ready() {
                return answered;
            }
            let deadline = watch.deadline();
            while alarm.poll(cx, deadline.min(look)).is_ready() {
                if ticks() >= deadline {
                    return Poll::Ready(Err(watch.overdue()));
                }
                if is_gone() && !self.stream.meter().received_any() {
                    return Poll::Ready(Err(ExchangeError::Gone));
                }
                look = ticks().saturating_add(LOOK_AFTER);
            }
            Poll::Pending
        });
        match end.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.explain(error)),
            Err(overdue) => Err(overdue),
        }
    }

    fn poll_answer<F: Future>(&mut self, mut answer: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let answered = answer.as_mut().poll(cx);
        if answered.is_ready() {
            return answered;
        }
        self.drive(cx);
        answer.poll(cx)
    }

    /// Lets the connection move as far as it can.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        let Some(connection) = &mut self.connection else { return };
        let Poll::Ready(ended) = connection.poll_without_shutdown(cx) else { return };
        let over = self.connection.take();
        if let (Ok(()), Some(over)) = (ended, over) {
            self.leftover = over.into_parts().read_buf;
        }
    }

    /// When the request's body last moved, in ticks.
    pub(super) fn uploaded(&self) -> u64 {
        self.upload.as_ref().map_or(0, |progress| progress.moved())
    }

    /// Whether the request's body broke off, by which the exchange did too.
    pub(super) fn client_broke(&self) -> bool {
        self.upload.as_ref().is_some_and(|progress| progress.is_broken())
    }

    fn explain(&self, mut error: TrySendError<Request<Upload>>) -> ExchangeError {
        if let Some(request) = error.take_message() {
            return ExchangeError::NotSent(Box::new(request));
        }
        let error = error.into_error();
        if error.is_user() {
            return ExchangeError::ClientBroken;
        }
        let why = pando_rt::error_chain::error_chain(&error);
        match self.stream.meter().received_any() {
            false => ExchangeError::Unanswered(why),
            true => ExchangeError::Broken(why),
        }
    }

    /// After an answer of 101: the bare connection, and what the endpoint has said already.
    pub(crate) async fn into_upgraded(mut self) -> (Stream, Bytes) {
        poll_fn(|cx| {
            self.drive(cx);
            if self.connection.is_none() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        (self.stream, self.leftover)
    }
}

/// What hyper must be told about a body of unknown length, and who asks for `100 Continue`.
fn prepare(request: &mut Request<Upload>) {
    if !request.body().is_empty() && !request.body().is_sized() {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
    }
    let continues = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if request.body().is_empty() {
        request.headers_mut().remove(header::EXPECT);
    } else if request.headers().get(header::EXPECT).is_some_and(continues) {
        let opener = request.body_mut().hold();
        hyper::ext::on_informational(request, move |informational| {
            if informational.status() == StatusCode::CONTINUE {
                opener.open();
            }
        });
    }
}

/// Who is waited for, and until when.
struct Watch {
    progress: Option<Arc<Progress>>,
    started: u64,
    waits: Waits,
}

impl Watch {
    fn deadline(&self) -> u64 {
        let response = |from: u64| from.saturating_add(span(self.waits.response));
        match &self.progress {
            None => response(self.started),
            Some(progress) => match progress.done() {
                Some(at) => response(at),
                None => progress.moved().saturating_add(span(self.waits.idle)),
            },
        }
    }

    fn overdue(&self) -> ExchangeError {
        match &self.progress {
            Some(progress) if progress.done().is_none() && progress.wants_client() => {
                ExchangeError::ClientStalled
            }
            _ => ExchangeError::Silent,
        }
    }
}
