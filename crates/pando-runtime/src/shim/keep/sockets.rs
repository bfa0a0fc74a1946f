//! The sockets of a kept program: taken over from one that lost its keeper, or new.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, Signal};

use super::{KeepSpec, KeepState, STATE};
use crate::dir::read_json;
use crate::listen;
use crate::proc::Process;

/// How long an orphan may take to end in order before the address is needed.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);

/// What there is to listen on, and a program that lost its keeper and is to hand over to ours.
pub(super) struct Found {
    pub(super) sockets: Vec<OwnedFd>,
    pub(super) orphan: Option<Process>,
}

/// The sockets, from a program that lost its keeper if there is one, else new.
pub(super) fn take_over_or_bind(spec: &KeepSpec) -> Result<Found, String> {
    let state: Option<KeepState> = read_json(&spec.dir.join(STATE)).unwrap_or_default();
    let orphan = state.and_then(|state| state.child).filter(|child| child.is_running());
    let taken = orphan.and_then(|orphan| take_over(orphan, &spec.listen));
    match (taken, orphan) {
        (Some(sockets), orphan) if spec.hands_over => return Ok(Found { sockets, orphan }),
        (Some(sockets), Some(orphan)) => {
            let _ = orphan.signal(Signal::TERM);
            return Ok(Found { sockets, orphan: None });
        }
        (_, Some(orphan)) => {
            let _ = orphan.signal(Signal::TERM);
            wait_for_end(orphan);
        }
        (_, None) => {}
    }
    let sockets = listen::bind_all(&spec.listen).map_err(|error| error.to_string())?;
    Ok(Found { sockets, orphan: None })
}

/// Whether it holds a socket that listens at one of these addresses.
pub(super) fn listens(orphan: Process, at: &[SocketAddr]) -> bool {
    at.iter().any(|address| take_over(orphan, &[*address]).is_some())
}

/// Its listening sockets for all of `wanted`, as they are, so that no moment passes without them. `None`: it has others, or
/// the kernel doesn't allow it.
fn take_over(orphan: Process, wanted: &[SocketAddr]) -> Option<Vec<OwnedFd>> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(orphan.pid).ok()?)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    if !orphan.is_running() {
        return None;
    }
    let numbers = fs::read_dir(format!("/proc/{}/fd", orphan.pid)).ok()?.flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<(SocketAddr, OwnedFd)> = numbers
        .filter_map(|number| rustix::process::pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).ok())
        .filter_map(|socket| Some((listen::listening_address(&socket)?, socket)))
        .collect();
    wanted
        .iter()
        .map(|address| Some(found.swap_remove(found.iter().position(|(at, _)| at == address)?).1))
        .collect()
}

fn wait_for_end(orphan: Process) {
    let until = Instant::now() + ORPHAN_GRACE;
    while orphan.is_running() {
        if Instant::now() > until {
            let _ = orphan.signal(Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
