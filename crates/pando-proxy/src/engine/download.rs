//! An answer's body on its way to the client.
//!
//! It drives the connection that it comes from, gives it back when the answer is
//! whole, and says how the request ended: whole, cut by the endpoint, or given up by
//! the client.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{BodyError, Link, Stream};
use crate::forward::Tally;
use crate::live::Lease;
use crate::time::{Alarm, span, ticks};

/// An answer's body: a page of our own, or what an endpoint sends.
#[derive(Debug)]
pub(crate) struct Download {
    source: Source,
    tally: Option<Tally>,
    /// The client's connection, to be told when the request is over.
    client: Option<Stream>,
}

#[derive(Debug)]
enum Source {
    Page(Bytes),
    Endpoint(Box<FromEndpoint>),
}

#[derive(Debug)]
struct FromEndpoint {
    body: Incoming,
    /// Both are `None` once the answer is whole.
    link: Option<Link>,
    lease: Option<Lease>,
    idle: Duration,
    moved: u64,
    alarm: Alarm,
}

impl Download {
    /// A whole body from memory.
    pub(crate) fn page(bytes: Bytes, tally: Tally) -> Self {
        let mut download = Self { source: Source::Page(bytes), tally: Some(tally), client: None };
        if download.is_end_stream() {
            download.finish();
        }
        download
    }

    /// No body, and nothing to count when it ends.
    pub(crate) fn nothing() -> Self {
        Self { source: Source::Page(Bytes::new()), tally: None, client: None }
    }

    /// What `link` still has to say. `idle` bounds the time without a byte either way.
    pub(crate) fn endpoint(body: Incoming, link: Link, lease: Lease, idle: Duration, tally: Tally) -> Self {
        let source = FromEndpoint {
            body,
            link: Some(link),
            lease: Some(lease),
            idle,
            moved: ticks(),
            alarm: Alarm::default(),
        };
        let source = Source::Endpoint(Box::new(source));
        let mut download = Self { source, tally: Some(tally), client: None };
        if download.is_end_stream() {
            download.finish();
        }
        download
    }

    /// Tells `client` when this answer is over.
    pub(super) fn tell(&mut self, client: Stream) {
        self.client = Some(client);
    }

    /// The last byte was handed over.
    fn finish(&mut self) {
        if let Source::Endpoint(source) = &mut self.source {
            source.release();
        }
        if let Some(tally) = self.tally.take() {
            tally.whole();
        }
    }

    /// The answer broke off; dropping the tally unsettled says that the client was the one.
    fn cut(&mut self) {
        let by_client = match &mut self.source {
            Source::Endpoint(source) => source.give_up(),
            Source::Page(_) => false,
        };
        if let Some(tally) = self.tally.take()
            && !by_client
        {
            tally.cut();
        }
        if let Some(client) = &self.client {
            client.cut_when_closed();
        }
    }
}

impl FromEndpoint {
    /// Gives the connection back if it can serve again, then ends the lease: in this order, so that a draining endpoint that
    /// reports nothing in flight holds no connection of ours either.
    fn release(&mut self) {
        let (link, lease) = (self.link.take(), self.lease.take());
        if let (Some(mut link), Some(lease)) = (link, &lease)
            && link.is_free()
        {
            lease.endpoint.idle.put(link);
        }
        drop(lease);
    }

    /// Closes the connection and ends the lease. True: because the client's body broke off.
    fn give_up(&mut self) -> bool {
        let by_client = self.link.take().is_some_and(|link| link.client_broke());
        self.lease = None;
        by_client
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending() {
            if let Some(link) = &mut self.link {
                link.drive(cx);
            }
            frame = Pin::new(&mut self.body).poll_frame(cx);
        }
        match frame {
            Poll::Ready(frame) => {
                self.moved = ticks();
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
            }
            Poll::Pending => {
                let uploaded = self.link.as_ref().map_or(0, Link::uploaded);
                let deadline = self.moved.max(uploaded).saturating_add(span(self.idle));
                self.alarm.poll(cx, deadline).map(|()| Some(Err("the endpoint fell silent".into())))
            }
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = match &mut this.source {
            Source::Page(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Page(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Endpoint(source) => source.poll_body(cx),
        };
        match &frame {
            Poll::Pending => {}
            Poll::Ready(None) => this.finish(),
            Poll::Ready(Some(Err(_))) => this.cut(),
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if let Some(tally) = &mut this.tally {
                    tally.sent(bytes);
                }
                if this.is_end_stream() {
                    this.finish();
                }
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Page(bytes) => bytes.is_empty(),
            Source::Endpoint(source) => source.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Page(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Endpoint(source) => source.body.size_hint(),
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if let Some(client) = &self.client {
            client.meter().idle();
        }
    }
}
