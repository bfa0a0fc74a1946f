//! Waits for children in a thread of its own, so that the main loop can wait for everything else.
//!
//! The shim is a subreaper: whatever its descendants leave behind becomes its child. So when there is no child to wait for,
//! nothing of the run is left at all.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus, wait};

use super::child::Exit;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reaped {
    pub(super) ended: Vec<(u32, Exit)>,
    /// There was no child left.
    pub(super) all_gone: bool,
}

#[derive(Debug)]
pub(super) struct Reaper {
    ready: Arc<OwnedFd>,
    reaped: Receiver<Reaped>,
}

impl Reaper {
    /// Waits for children that exist already. It ends when there are none left.
    pub(super) fn start() -> io::Result<Self> {
        let ready = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (told, reaped) = channel();
        let bell = Arc::clone(&ready);
        // Not joined: it ends with the process at the latest, and owns nothing that needs an orderly end.
        thread::Builder::new().name("reaper".to_owned()).stack_size(64 * 1024).spawn(move || {
            while let Some(reaped) = reap() {
                let last = reaped.all_gone;
                tell(&told, &bell, reaped);
                if last {
                    return;
                }
            }
        })?;
        Ok(Self { ready, reaped })
    }

    /// What has ended since the last call. Never blocks.
    pub(super) fn take(&self) -> Vec<Reaped> {
        let mut count = [0; 8];
        // Only resets the bell; that it had not rung is no error.
        let _ = rustix::io::read(&self.ready, &mut count);
        self.reaped.try_iter().collect()
    }
}

impl AsFd for Reaper {
    /// Readable when [`Reaper::take`] has something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

fn tell(told: &Sender<Reaped>, bell: &OwnedFd, reaped: Reaped) {
    // The receiver lives as long as the process.
    let _ = told.send(reaped);
    let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}

/// Waits for one child, and takes whatever else has ended by then, so that a run which ended whole is told as one event.
fn reap() -> Option<Reaped> {
    let mut ended = Vec::new();
    let mut options = WaitOptions::empty();
    loop {
        match wait(options) {
            Ok(Some((pid, status))) => {
                ended.extend(exit_of(status).map(|exit| (pid.as_raw_nonzero().get().unsigned_abs(), exit)));
                options = WaitOptions::NOHANG;
            }
            Ok(None) => return Some(Reaped { ended, all_gone: false }),
            Err(Errno::INTR) => {}
            // No children: the only other error there is.
            Err(_) => return Some(Reaped { ended, all_gone: true }),
        }
    }
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    let exit = Exit { code: status.exit_status(), signal: status.terminating_signal() };
    (exit.code.is_some() || exit.signal.is_some()).then_some(exit)
}
