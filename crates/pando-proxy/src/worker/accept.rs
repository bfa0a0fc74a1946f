//! Accepts connections, and serves them here or hands them on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::guests::Bounded;
use super::share::Handed;
use super::waiting::{self, Presence};
use super::{Accepted, Common};
use crate::files;
use crate::plane::Plane;
use crate::serve::{self, Entrance};

/// How often it is said that connections cannot be accepted.
const WARN_AGAIN: Duration = Duration::from_secs(10);

/// How often somebody is looked for who could go, while a connection waits for its place.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// After an accept that failed for want of something (files, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// So many connections are accepted before those that are there get their turn: in a flood of new ones, which cost little each but
/// come by the thousand, their requests would wait for all of it. Tokio alone would stop after 128.
const AT_ONCE: u32 = 8;

/// Accepts from the opening until the clients' shutdown begins, then lets go of the listener: its queue stays for whoever else holds it.
pub(super) async fn accept(listener: TcpListener, entrance: Entrance, common: Common) {
    let (mut warned, mut in_a_row): (Option<Instant>, u32) = (None, 0);
    tokio::select! {
        biased;
        () = common.clients.shutdown().wait() => return,
        () = common.open.wait() => {}
    }
    loop {
        let accepted = tokio::select! {
            biased;
            () = common.clients.shutdown().wait() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, address)) => {
                // First: for somebody who has too many already nobody has to go.
                if let Some(guest) = enter(address, &common) {
                    let seat = seat(&common).await;
                    file(&tcp, &common).await;
                    let accepted = Accepted { tcp, address, entrance, guest, seat };
                    if let Some(own) = common.shares.hand_on(accepted) {
                        serve(own, &common);
                    }
                }
                in_a_row += 1;
                if in_a_row == AT_ONCE {
                    in_a_row = 0;
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if is_of_one(&error) => {}
            Err(error) => {
                if warned.is_none_or(|at| at.elapsed() > WARN_AGAIN) {
                    warned = Some(Instant::now());
                    tracing::warn!(%error, "cannot accept connections for now");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves what others hand over.
pub(super) async fn receive(mut queue: mpsc::Receiver<Handed>, common: Common) {
    let mut closed = false;
    loop {
        let handed = tokio::select! {
            biased;
            handed = queue.recv() => handed,
            () = common.clients.shutdown().wait(), if !closed => {
                // What others have accepted and are about to hand over still comes.
                queue.close();
                closed = true;
                continue;
            }
        };
        let Some(handed) = handed else { return };
        match handed.arrive() {
            Ok(accepted) => serve(accepted, &common),
            Err(error) => tracing::debug!(%error, "a connection was lost on its way to another thread"),
        }
    }
}

/// Counts a connection of this address. `None`: it has as many as it may, and this one is closed.
fn enter(address: SocketAddr, common: &Common) -> Option<Bounded> {
    // Behind a proxy there are many.
    let Some(guests) = common.guests.as_ref().filter(|_| !common.plane.is_proxied(address.ip())) else {
        return Some(None);
    };
    let guest = guests.enter(address.ip());
    if guest.is_none() {
        common.plane.gauges.refused_connections.fetch_add(1, Relaxed);
    }
    guest.map(Some)
}

/// A place for one more connection. Where all are taken, another one goes that waits for nothing; where none does, the new one
/// waits. `None`: the shutdown has begun, and whoever came before it is served all the same.
async fn seat(common: &Common) -> Option<OwnedSemaphorePermit> {
    let mut seat = Arc::clone(&common.room).try_acquire_owned().ok();
    while seat.is_none() {
        waiting::make_room();
        let vacant = tokio::time::timeout(LOOK_AGAIN, Arc::clone(&common.room).acquire_owned());
        seat = tokio::select! {
            biased;
            () = common.clients.shutdown().wait() => return None,
            vacant = vacant => vacant.ok().and_then(Result::ok),
        };
    }
    seat
}

/// The same for the file that the connection takes, of which there may be fewer.
async fn file(tcp: &TcpStream, common: &Common) {
    if !files::are_short(tcp) {
        return;
    }
    while !waiting::make_room() && files::are_taken(tcp) {
        tokio::select! {
            biased;
            () = common.clients.shutdown().wait() => return,
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Whether only the connection that was to be accepted is lost.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

fn serve(accepted: Accepted, common: &Common) {
    let Accepted { tcp, address, entrance, guest, seat } = accepted;
    let (plane, stop) = (Arc::clone(&common.plane), common.clients.shutdown().child());
    let place = common.shares.take_place();
    let open = Open::new(Arc::clone(&plane));
    let (stay, presence) = (waiting::arrive(), Presence::default());
    let (name, seen) = (stay.name(), presence.clone());
    let task = common.clients.spawn(async move {
        serve::serve(tcp, address, entrance, plane, presence, stop).await;
        drop((seat, place, open, guest, stay));
    });
    waiting::enter(name, seen, task, &common.plane);
}

/// Counts a connection while it is open, however it ends.
struct Open(Arc<Plane>);

impl Open {
    fn new(plane: Arc<Plane>) -> Self {
        plane.gauges.accepted_connections.fetch_add(1, Relaxed);
        plane.gauges.open_connections.fetch_add(1, Relaxed);
        Self(plane)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.gauges.open_connections.fetch_sub(1, Relaxed);
    }
}
