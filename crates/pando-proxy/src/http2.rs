//! A client's connection over HTTP/2: many requests at once, each a future of the connection's task.
//!
//! Frames, header compression, stream states and flow control are the `h2` crate's. It also guards against: more streams
//! than allowed, header lists that are too large (431, and the end of the connection at four times the limit), too many
//! CONTINUATIONs, resets of streams that nobody has looked at yet (CVE-2023-44487), streams that it has to reset itself
//! (CVE-2025-8671), bodies in tiny frames, bodies that are not as long as said, more data than the windows allow. Memory for
//! answers is bounded by [`SEND_BUFFER`] a stream, for requests by the connection's window.
//!
//! `guard` adds: how often a client may reset, ping, change settings and the like, what it may never send, pseudo-headers in
//! trailers, and the right codes for frames of a wrong size and for closed streams. `request` checks what the crate leaves out of RFC 9113, 8. Here are the deadlines: a
//! head that does not end, a connection without a stream, a client that takes nothing.

mod answer;
mod bell;
mod block;
mod extended;
mod guard;
mod pipe;
mod request;
mod stream;
mod streams;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use pando_rt::shutdown::Shutdown;
use tokio::task::coop::has_budget_remaining;

use crate::client::Client;
use crate::forward::{End, forward};
use crate::inbox::Inbox;
use crate::plane::Plane;
use crate::settings::{Http2Limits, Limits};
use crate::time::{Alarm, span, ticks};
use crate::wire::Wire;
use crate::worker::Presence;
use bell::Bell;
pub(crate) use extended::acceptance;
use guard::Rates;
use pipe::Pipe;
use request::{Fault, Translated, translate};
use stream::Http2Stream;
pub(crate) use stream::{broken, poll_room};
use streams::Streams;

/// How the preface of HTTP/2 looks to who reads it as HTTP/1.
pub(crate) const PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Bytes of answers that wait in one stream for the client to take them.
const SEND_BUFFER: usize = 64 << 10;

/// Resets by the crate for what a client did wrong, in a connection's life.
const MALFORMED: usize = 100;

/// Resets by a client before anybody has looked at the stream; a browser that leaves a page resets all it has.
const RESET_UNSEEN: usize = 100;

/// Streams that were reset and are remembered, so that what was on its way for them is no mistake.
const RESET_REMEMBERED: usize = 100;

/// How long a connection that was told to end, and has no stream, is waited for.
const LAST_STREAM: Duration = Duration::from_millis(500);

/// The same, where the proxy does not end for it.
const LAST_STREAM_UNHURRIED: Duration = Duration::from_secs(5);

/// How often in a turn streams and connection go on with what the other has left for them.
const ROUNDS: usize = 4;

/// How long a client that broke the rules has to read why.
const LINGER: Duration = Duration::from_secs(2);

/// Serves one connection until it ends. `first` was read from it already. When `stop` begins it ends gracefully.
pub(crate) async fn serve(
    wire: Wire,
    first: Inbox,
    client: Client,
    plane: Arc<Plane>,
    presence: Presence,
    stop: Shutdown,
) {
    presence.has_begun(ticks());
    let limits = &plane.limits.http2;
    let rates = Rates { resets: limits.resets, control: limits.control_frames };
    let pipe = Pipe::new(wire, first, rates);
    let shaking = builder(&plane.limits).handshake::<_, Bytes>(pipe.clone());
    let Ok(Ok(h2)) = tokio::time::timeout(plane.limits.head_time, shaking).await else { return };
    let bell = Bell::new();
    let mut connection = Connection {
        h2,
        pipe,
        streams: Streams::new(Arc::clone(&bell)),
        waker: Waker::from(Arc::clone(&bell)),
        bell,
        client,
        plane: Arc::clone(&plane),
        presence,
        alarm: Alarm::default(),
        idle_since: ticks(),
        phase: Phase::Open,
    };
    let mut stopping = pin!(stop.wait());
    poll_fn(|cx| connection.poll(cx, stopping.as_mut())).await;
    let (pipe, patience) = (connection.pipe.clone(), connection.give_up());
    // Closing at once could take our last words from the client. Running out of patience is fine: it had its time.
    let _ = tokio::time::timeout(patience, poll_fn(|cx| pipe.poll_discard(cx))).await;
}

fn builder(limits: &Limits) -> Builder {
    let Http2Limits { streams, stream_window, connection_window, .. } = limits.http2;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(streams)
        .initial_window_size(stream_window)
        .initial_connection_window_size(connection_window)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_local_error_reset_streams(Some(MALFORMED))
        .max_pending_accept_reset_streams(RESET_UNSEEN)
        .max_concurrent_reset_streams(RESET_REMEMBERED)
        .enable_connect_protocol();
    builder
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Told to begin no more streams, at that tick.
    Ending(u64),
    /// Told that it broke the rules, at that tick.
    Broken(u64),
}

/// One connection and its streams.
struct Connection {
    h2: h2::server::Connection<Pipe, Bytes>,
    pipe: Pipe,
    streams: Streams,
    bell: Arc<Bell>,
    /// Rings it.
    waker: Waker,
    client: Client,
    plane: Arc<Plane>,
    presence: Presence,
    alarm: Alarm,
    /// When there was last a stream.
    idle_since: u64,
    phase: Phase,
}

impl Connection {
    /// Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>, stopping: Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
        if self.phase == Phase::Open && stopping.poll(cx).is_ready() {
            self.wind_up();
        }
        loop {
            if self.poll_streams(cx).is_ready() || matches!(self.poll_out(), Poll::Ready(Err(_))) {
                return Poll::Ready(());
            }
            let standing = self.pipe.standing();
            if let (Some(reason), false) = (standing.violation, self.is_broken()) {
                self.break_off(reason);
                continue;
            }
            let (deadline, then) = self.deadline(&standing);
            if self.alarm.poll(cx, deadline).is_pending() {
                match (self.streams.is_empty(), standing.unfinished) {
                    (false, _) => self.presence.works(),
                    (true, Some(since)) => self.presence.has_begun(since),
                    (true, None) => self.presence.is_silent(self.idle_since),
                }
                return Poll::Pending;
            }
            match then {
                Then::WindUp => self.wind_up(),
                Then::BreakOff => self.break_off(Reason::ENHANCE_YOUR_CALM),
                Then::Over => return Poll::Ready(()),
            }
        }
    }

    /// Takes new streams, goes on with all of them, and moves their bytes. Ready when the connection is over.
    fn poll_streams(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.bell.work(cx.waker());
        for _ in 0..ROUNDS {
            self.streams.poll();
            if self.bell.was_rung() && self.poll_accept().is_ready() {
                return Poll::Ready(());
            }
            // Without a budget nobody gets on; the next turn has another.
            if !has_budget_remaining() || !self.bell.is_rung() && !self.streams.are_called() {
                break;
            }
        }
        if self.streams.have_ended() {
            self.idle_since = ticks();
            self.pipe.rest();
        }
        self.bell.rest();
        if self.bell.is_rung() || self.streams.are_called() {
            // The runtime's other tasks have their turn.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Takes new streams. Ready when the connection is over.
    fn poll_accept(&mut self) -> Poll<()> {
        while let Poll::Ready(next) = self.h2.poll_accept(&mut Context::from_waker(&self.waker)) {
            let Some(Ok((request, respond))) = next else { return Poll::Ready(()) };
            self.take(request, respond);
        }
        Poll::Pending
    }

    fn poll_out(&self) -> Poll<std::io::Result<()>> {
        // The connection may wait for room as well.
        self.pipe.poll_out(&mut Context::from_waker(&self.waker))
    }

    /// A request is answered by a stream of its own.
    fn take(&mut self, request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let (parts, receive) = request.into_parts();
        let Translated { asked, key } = match translate(&parts, receive.is_end_stream(), &self.plane.limits) {
            Ok(translated) => translated,
            Err(Fault::Malformed) => {
                respond.send_reset(Reason::PROTOCOL_ERROR);
                return self.pipe.note_reset();
            }
            Err(Fault::Refused(status, sentence)) => return answer::refuse(respond, status, sentence),
        };
        let mut stream = Http2Stream::new(receive, respond, asked.head.method, key);
        let (client, plane) = (self.client.clone(), Arc::clone(&self.plane));
        self.streams.push(Box::pin(async move {
            match forward(&mut stream, asked, &client, &plane).await {
                End::Next | End::Close => {}
                End::Cut => stream.cut(),
                End::Tunnel(tunnel) => {
                    let Some(io) = stream.into_io() else { return };
                    // Boxed: other streams have no room for it.
                    Box::pin(tunnel.run(io, Inbox::default(), &plane)).await;
                }
            }
        }));
    }

    /// Until when nothing need happen, and what does then.
    fn deadline(&self, standing: &pipe::Standing) -> (u64, Then) {
        let limits = &self.plane.limits;
        let after = |moment: u64, wait: Duration| moment.saturating_add(span(wait));
        let idle = match self.phase {
            Phase::Broken(at) => return (after(at, LINGER), Then::Over),
            _ if !self.streams.is_empty() => (u64::MAX, Then::Over),
            Phase::Open => (after(self.idle_since, limits.client_idle), Then::WindUp),
            Phase::Ending(at) => (after(self.idle_since.max(at), self.last_stream()), Then::Over),
        };
        let unfinished = standing.unfinished.map_or(u64::MAX, |since| after(since, limits.head_time));
        let blocked = standing.blocked.map_or(u64::MAX, |since| after(since, limits.client_stall));
        let sooner = |one: (u64, Then), other: (u64, Then)| if other.0 < one.0 { other } else { one };
        sooner(sooner(idle, (unfinished, Then::BreakOff)), (blocked, Then::Over))
    }

    /// Nothing presses when another proxy has taken over: the client may be far away.
    fn last_stream(&self) -> Duration {
        if self.plane.end.has_begun() { LAST_STREAM } else { LAST_STREAM_UNHURRIED }
    }

    fn is_broken(&self) -> bool {
        matches!(self.phase, Phase::Broken(_))
    }

    fn wind_up(&mut self) {
        self.phase = Phase::Ending(ticks());
        self.h2.graceful_shutdown();
        self.bell.ring();
    }

    fn break_off(&mut self, reason: Reason) {
        self.phase = Phase::Broken(ticks());
        self.h2.abrupt_shutdown(reason);
        self.bell.ring();
    }

    /// Gives up what is still under way; how long the client is listened to from then on.
    fn give_up(mut self) -> Duration {
        self.streams.clear();
        self.bell.forget();
        if self.is_broken() { LINGER } else { LAST_STREAM }
    }
}

/// What happens when a deadline has passed.
#[derive(Debug, Clone, Copy)]
enum Then {
    WindUp,
    BreakOff,
    Over,
}
