//! How many files the program may have open, and whether it is about to run out of them.
//!
//! Nothing is counted: the kernel gives each file the lowest number that is free, so that a number tells how many are open.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::worker;

/// Files for the control side, probes and logs.
const SPARE: usize = 128;

/// So many of these a connection to an endpoint may take while somebody makes room for it.
const LENT: usize = SPARE / 2;

/// Connections have the files below.
static CEILING: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Raises the system's limit as far as it can be. To be called before anything is served; `wanted` client connections are to have
/// room, each with one to an endpoint.
pub(crate) fn prepare(wanted: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        limit = raised;
    }
    let files = limit.current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    let ceiling = files.saturating_sub(SPARE).max(1);
    CEILING.store(ceiling, Relaxed);
    if ceiling / 2 < wanted {
        let connections = ceiling.min(wanted);
        tracing::warn!(
            files,
            connections,
            "the limit on open files may allow fewer connections than wanted: each takes one, and a second one for its request"
        );
    }
}

/// Whether a file that was opened just now, and stays, leaves too few for others.
pub(crate) fn are_short(newest: &impl AsFd) -> bool {
    number(newest) >= CEILING.load(Relaxed)
}

/// Whether there is none left for another one like this.
pub(crate) fn are_taken(one: &impl AsFd) -> bool {
    match rustix::io::fcntl_dupfd_cloexec(one, 0) {
        Ok(lowest) => are_short(&lowest),
        Err(_) => true,
    }
}

/// Lets a connection to an endpoint have its file. Where there are few left, a client goes that waits for nothing.
///
/// # Errors
/// Nobody can go, and what is left is for others.
pub(crate) fn lend(newest: &impl AsFd) -> io::Result<()> {
    if !are_short(newest)
        || worker::make_room()
        || number(newest) < CEILING.load(Relaxed).saturating_add(LENT)
    {
        return Ok(());
    }
    Err(rustix::io::Errno::MFILE.into())
}

/// Whether it is this machine that lacks something, not the other end that fails.
pub(crate) fn is_own_lack(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let lacks = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    Errno::from_io_error(error).is_some_and(|errno| lacks.contains(&errno))
}

fn number(file: &impl AsFd) -> usize {
    usize::try_from(file.as_fd().as_raw_fd()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    // Each test is a process of its own, whose limit it may set.
    #[test]
    fn what_is_left_is_told_by_numbers() {
        let current = Some(u64::try_from(SPARE + 40).unwrap());
        setrlimit(Resource::Nofile, Rlimit { current, maximum: current }).unwrap();
        prepare(10);
        let open = || File::open("/dev/null").unwrap();
        let mut files = Vec::new();
        let first = open();
        while !are_taken(&first) {
            assert!(files.len() < 40);
            files.push(open());
        }
        let more = open();
        assert!(are_short(&more) && !are_short(&first));
        lend(&more).unwrap();
        let lent: Vec<File> = (0..LENT).map(|_| open()).collect();
        assert!(is_own_lack(&lend(lent.last().unwrap()).unwrap_err()));
        drop(files);
        assert!(!are_taken(&first));
    }

    #[test]
    fn the_other_end_s_failures_are_not_ours() {
        for (errno, ours) in [(rustix::io::Errno::MFILE, true), (rustix::io::Errno::CONNREFUSED, false)] {
            assert_eq!(is_own_lack(&errno.into()), ours);
        }
        assert!(!is_own_lack(&io::ErrorKind::TimedOut.into()));
    }
}
