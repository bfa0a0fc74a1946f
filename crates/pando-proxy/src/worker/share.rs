//! How many connections each worker has, and who gets the next.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::guests::Bounded;
use super::{Accepted, index};
use crate::serve::Entrance;

/// So many more than the least busy worker's are not worth a hand-over, beside a quarter of the mean: the kernel spreads
/// by hash, long-lived connections gather.
const SLACK: usize = 8;

/// All workers' counts, and the doors to them.
#[derive(Debug)]
pub(super) struct Shares {
    counts: Arc<[AtomicUsize]>,
    doors: Vec<mpsc::Sender<Handed>>,
    /// Every worker has a listener of its own.
    spread: bool,
}

/// A connection on its way from one thread to another.
#[derive(Debug)]
pub(super) struct Handed {
    tcp: std::net::TcpStream,
    address: SocketAddr,
    entrance: Entrance,
    guest: Bounded,
    seat: Option<OwnedSemaphorePermit>,
}

impl Handed {
    /// # Errors
    /// It can't be waited for here.
    pub(super) fn arrive(self) -> io::Result<Accepted> {
        let Self { tcp, address, entrance, guest, seat } = self;
        Ok(Accepted { tcp: TcpStream::from_std(tcp)?, address, entrance, guest, seat })
    }
}

/// One connection of a worker's; dropped when it ends.
#[derive(Debug)]
pub(super) struct Place {
    counts: Arc<[AtomicUsize]>,
    worker: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counts[self.worker].fetch_sub(1, Relaxed);
    }
}

impl Shares {
    pub(super) fn new(doors: Vec<mpsc::Sender<Handed>>, spread: bool) -> Self {
        Self { counts: doors.iter().map(|_| AtomicUsize::new(0)).collect(), doors, spread }
    }

    pub(super) fn take_place(&self) -> Place {
        let worker = index();
        self.counts[worker].fetch_add(1, Relaxed);
        Place { counts: Arc::clone(&self.counts), worker }
    }

    /// Gives a connection to a worker that has fewer; or back, to be served here.
    pub(super) fn hand_on(&self, accepted: Accepted) -> Option<Accepted> {
        let counts: Vec<usize> = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        let Some(other) = receiver(&counts, index(), self.spread) else { return Some(accepted) };
        let Ok(permit) = self.doors[other].try_reserve() else { return Some(accepted) };
        let Accepted { tcp, address, entrance, guest, seat } = accepted;
        match tcp.into_std() {
            Ok(tcp) => permit.send(Handed { tcp, address, entrance, guest, seat }),
            Err(error) => tracing::debug!(%error, "a connection was lost on its way to another thread"),
        }
        None
    }
}

/// Who takes the next connection that `own` has accepted; `None`: `own` itself.
fn receiver(counts: &[usize], own: usize, spread: bool) -> Option<usize> {
    let (least, fewest) = counts.iter().copied().enumerate().min_by_key(|(_, count)| *count)?;
    let mean = counts.iter().sum::<usize>() / counts.len();
    let slack = if spread { SLACK + mean / 4 } else { 0 };
    (counts[own] > fewest + slack).then_some(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_fewest_gets_what_only_one_accepts() {
        assert_eq!(receiver(&[0, 0], 0, false), None);
        assert_eq!(receiver(&[1, 0], 0, false), Some(1));
        assert_eq!(receiver(&[1, 1, 0, 1], 0, false), Some(2));
        assert_eq!(receiver(&[1], 0, false), None);
    }

    #[test]
    fn where_the_kernel_spreads_only_gatherings_are_broken_up() {
        assert_eq!(receiver(&[8, 0], 0, true), None);
        assert_eq!(receiver(&[100, 90], 0, true), None);
        assert_eq!(receiver(&[100, 60], 0, true), Some(1));
        assert_eq!(receiver(&[60, 100], 0, true), None);
    }
}
