//! A connection to an endpoint.
//!
//! There is no task behind it: whoever carries an exchange out drives it. Dropping it closes it, so that nothing
//! outlives a request that was given up.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pando_http::{HeadScan, Limits, MOST_FIELDS, Method, ResponseHead, Scanned};

use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::upstream::{Ends, Reach};
use crate::wire::Wire;

/// Bytes of an answer's head at most. Endpoints are the user's own; this is a bound, not a policy.
pub(crate) const MOST_HEAD: usize = 256 << 10;

/// For whoever reads such a head.
pub(crate) const HEAD_LIMITS: Limits =
    Limits { head_bytes: MOST_HEAD, target_bytes: usize::MAX, fields: MOST_FIELDS };

/// A connection to an endpoint, idle or in the middle of one exchange. It is handed about, so it travels by its box.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) wire: Wire,
    pub(crate) inbox: Inbox,
    outbox: Outbox,
    scan: HeadScan,
    /// A byte came since the exchange began.
    heard_any: bool,
    /// What the outbox had written when the exchange began.
    before: u64,
    /// Of the [`Reach`] that it was opened by.
    pub(crate) serial: u64,
    /// The only client's connection whose requests it carries, if that was said when it was opened.
    pub(crate) behalf: Option<Ends>,
}

/// The head of an answer is at the inbox's start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) len: usize,
    /// Every line ends as it should.
    pub(crate) clean: bool,
    /// It was read as well.
    pub(crate) was_read: bool,
}

/// Where the head of an answer is read to as soon as it comes whole.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) head: &'a mut ResponseHead,
    /// Of the request.
    pub(crate) method: Method,
}

impl Reader<'_> {
    pub(crate) fn again(&mut self) -> Reader<'_> {
        Reader { head: self.head, method: self.method }
    }

    fn read(&mut self, bytes: &[u8]) -> Option<Heard> {
        let len = self.head.read_at_once(bytes, self.method, &HEAD_LIMITS)?;
        Some(Heard { len, clean: true, was_read: true })
    }
}

/// Why no head of an answer came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the connection was closed")]
    Closed,
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the head of the answer is larger than {MOST_HEAD} bytes")]
    TooLarge,
}

impl Link {
    /// # Errors
    /// Whatever connecting answers, or why there is no TLS; `TimedOut` after `patience`.
    pub(crate) async fn open(
        reach: &Reach,
        address: SocketAddr,
        behalf: Option<Ends>,
        patience: Duration,
    ) -> io::Result<Box<Self>> {
        let connecting = tokio::time::timeout(patience, reach.open(address, behalf));
        let wire = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let mut link = Self::over(wire);
        (link.serial, link.behalf) = (reach.serial, behalf);
        Ok(link)
    }

    /// Speaks over a connection that is open.
    pub(crate) fn over(wire: Wire) -> Box<Self> {
        Box::new(Self {
            wire,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            scan: HeadScan::default(),
            heard_any: false,
            before: 0,
            serial: 0,
            behalf: None,
        })
    }

    /// Whether an idle connection can take a request. `surely`: it is asked of the kernel, at the price of a call.
    pub(crate) fn is_reusable(&mut self, surely: bool) -> bool {
        let looks_open = !surely && !self.wire.seems_readable();
        (looks_open && !self.wire.holds_anything()) || !self.was_closed_by_peer()
    }

    /// Whether an idle connection was closed, or misused, by the endpoint.
    pub(crate) fn was_closed_by_peer(&mut self) -> bool {
        !self.inbox.is_empty() || self.wire.has_anything_to_read()
    }

    /// A new exchange, which begins with `head`.
    pub(crate) fn begin(&mut self, head: &[u8]) {
        self.outbox.clear();
        self.outbox.queue().extend_from_slice(head);
        self.before = self.outbox.written();
        self.expect_head();
        self.heard_any = false;
    }

    /// The next thing to come is the head of an answer.
    pub(crate) fn expect_head(&mut self) {
        self.scan = HeadScan::default();
    }

    /// To be sent after what is queued.
    pub(crate) fn queue(&mut self) -> &mut Vec<u8> {
        self.outbox.queue()
    }

    pub(crate) fn queued(&self) -> usize {
        self.outbox.len()
    }

    /// Whether anything of the current exchange was given to the kernel.
    pub(crate) fn sent_any(&self) -> bool {
        self.outbox.written() > self.before
    }

    /// Whether anything was heard since the exchange began.
    pub(crate) fn heard_any(&self) -> bool {
        self.heard_any
    }

    /// See [`Outbox::poll_write`].
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.outbox.poll_write(cx, &mut self.wire, data)
    }

    /// Reads more; 0: the endpoint has closed.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = self.wire.poll_fill(cx, &mut self.inbox);
        self.heard_any |= matches!(read, Poll::Ready(Ok(1..)));
        read
    }

    fn hear(&mut self, reader: Option<&mut Reader<'_>>) -> Option<Heard> {
        let bytes = self.inbox.bytes();
        if self.scan.is_new()
            && let Some(heard) = reader.and_then(|reader| reader.read(bytes))
        {
            return Some(heard);
        }
        match self.scan.leniently(bytes) {
            Scanned::Whole { len, bare } => Some(Heard { len, clean: !bare, was_read: false }),
            _ => None,
        }
    }

    /// Waits until a whole head is here.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        mut reader: Option<Reader<'_>>,
    ) -> Poll<Result<Heard, LinkError>> {
        loop {
            if !self.inbox.is_empty()
                && let Some(heard) = self.hear(reader.as_mut())
            {
                return Poll::Ready(Ok(heard));
            }
            if self.inbox.len() >= MOST_HEAD {
                return Poll::Ready(Err(LinkError::TooLarge));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(LinkError::Closed));
            }
        }
    }
}
