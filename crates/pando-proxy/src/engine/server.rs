//! A client's connection: one task from accept to close, tunnel included.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pando_rt::shutdown::Shutdown;
use tokio::net::TcpStream;

use super::download::Download;
use super::meter::Overdue;
use super::stream::Stream;
use super::upload::Upload;
use crate::forward::{Reply, forward};
use crate::plane::Plane;
use crate::time::{Alarm, span, ticks};
use crate::tunnel::Tunnel;

/// How long an idle connection lives on after the shutdown began, so that a request that is just on its way is still
/// answered, with a wish to close.
const LAST_REQUEST: Duration = Duration::from_millis(500);

/// How long we listen to a client that we have nothing more to say to, so that it reads our last words before it learns that
/// nobody takes its own.
const LINGER: Duration = Duration::from_secs(2);

/// What a client reads whose request's head didn't end in time; the engine is still waiting for it and can't be asked.
const TIME_OUT_PAGE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 63\r\n\
    content-type: text/plain; charset=utf-8\r\n\r\n408 Request Timeout\nThe request's head did not arrive in time.\n";

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
}

/// An upgrade that was agreed: where the client's side will be found, and the rest of it.
type Agreed = Arc<Mutex<Option<(OnUpgrade, Box<Tunnel>)>>>;

/// Serves one connection until it ends. When `stop` begins it ends gracefully.
pub(crate) async fn serve(tcp: TcpStream, client: Client, plane: Arc<Plane>, stop: Shutdown) {
    let stream = Stream::new(tcp);
    let agreed = Agreed::default();
    let service = service_fn(|request| {
        stream.meter().busy();
        answer(request, client, Arc::clone(&plane), stream.clone(), Arc::clone(&agreed))
    });
    let connection = builder(&plane).serve_connection(TokioIo::new(stream.clone()), service);
    let mut connection = pin!(connection.with_upgrades());
    let mut watchdog = Watchdog { stream: &stream, plane: &plane, alarm: Alarm::default() };
    let mut stopping = Stopping { begun: pin!(stop.wait()), last_request: None, alarm: Alarm::default() };
    let end = poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(End::Closed(ended));
        }
        if stopping.poll(cx) {
            connection.as_mut().graceful_shutdown();
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(End::Closed(ended));
            }
        }
        watchdog.poll(cx).map(End::Overdue)
    });
    let end = end.await;
    let upgrade = agreed.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (end, upgrade) {
        (End::Closed(Ok(())), Some((on_upgrade, tunnel))) => pass(on_upgrade, *tunnel, &plane, &stop).await,
        (End::Closed(ended), _) => close(&stream, ended.is_err_and(|error| error.is_user())).await,
        (End::Overdue(Overdue::Head), _) => stream.write_now(TIME_OUT_PAGE),
        (End::Overdue(Overdue::Stalled), _) => stream.cut_when_closed(),
        (End::Overdue(Overdue::Idle), _) => {}
    }
}

enum End {
    Closed(hyper::Result<()>),
    Overdue(Overdue),
}

fn builder(plane: &Plane) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The head's time is watched by the watchdog, which tells a slow client from an idle one.
    builder.header_read_timeout(None);
    builder.max_header_size(plane.limits.head_bytes);
    builder.max_buf_size(plane.limits.head_bytes.max(8 << 10) + 1);
    builder
}

async fn answer(
    mut request: Request<Incoming>,
    client: Client,
    plane: Arc<Plane>,
    stream: Stream,
    agreed: Agreed,
) -> Result<Response<Download>, Infallible> {
    let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
    request.extensions_mut().clear();
    let can_upgrade = on_upgrade.is_some() && request.version() == Version::HTTP_11;
    let reply = forward(request.map(Upload::new), can_upgrade, client, &plane).await;
    let mut response = match (reply, on_upgrade) {
        (Reply::Tunnel(response, tunnel), Some(on_upgrade)) => {
            *agreed.lock().unwrap_or_else(PoisonError::into_inner) = Some((on_upgrade, tunnel));
            response
        }
        (Reply::Answer(response) | Reply::Tunnel(response, _), _) => response,
    };
    response.body_mut().tell(stream);
    Ok(response)
}

/// Hands the client's bare connection to the tunnel.
async fn pass(on_upgrade: OnUpgrade, tunnel: Tunnel, plane: &Plane, stop: &Shutdown) {
    let Ok(upgraded) = on_upgrade.await else { return };
    // The type is the one that `serve` put in.
    let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() else { return };
    tunnel.run(parts.io.into_inner(), parts.read_buf, plane, stop).await;
}

async fn close(stream: &Stream, cut: bool) {
    if cut {
        stream.cut_when_closed();
    } else {
        // Running out of patience is fine: the client had its time.
        let _ = tokio::time::timeout(LINGER, stream.discard()).await;
    }
}

/// Rings when the client owes something for too long.
struct Watchdog<'a> {
    stream: &'a Stream,
    plane: &'a Plane,
    alarm: Alarm,
}

impl Watchdog<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Overdue> {
        match self.stream.meter().deadline(&self.plane.limits) {
            None => Poll::Pending,
            Some((deadline, what)) => self.alarm.poll(cx, deadline).map(|()| what),
        }
    }
}

/// The end in two steps: answers ask to close, then whoever is still idle is closed.
struct Stopping<F> {
    begun: Pin<F>,
    last_request: Option<u64>,
    alarm: Alarm,
}

impl<F: std::ops::DerefMut<Target: Future<Output = ()>>> Stopping<F> {
    /// True, once, when the time of the second step has come.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = match self.last_request {
            Some(deadline) => deadline,
            None if self.begun.as_mut().poll(cx).is_pending() => return false,
            None => *self.last_request.insert(ticks() + span(LAST_REQUEST)),
        };
        if deadline == u64::MAX || self.alarm.poll(cx, deadline).is_pending() {
            return false;
        }
        self.last_request = Some(u64::MAX);
        true
    }
}
