//! A pseudo-terminal: the caller's end of it as a stream.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use pando_api::v1::agents::TerminalSize;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::Winsize;
use tokio::net::unix::pipe;

/// The caller's side. Reads end, with an error, when no process has the other side open.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) reader: pipe::Receiver,
    pub(super) writer: pipe::Sender,
    /// For changes of its size.
    pub(super) size: OwnedFd,
}

impl Terminal {
    /// A terminal of this size that belongs to `owner` (user, group), and its other side as stdin, stdout and stderr.
    pub(super) fn open(size: TerminalSize, owner: Option<(u32, u32)>) -> io::Result<(Self, [Stdio; 3])> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        resize(&master, size)?;
        let name = ptsname(&master, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name, flags, Mode::empty())?;
        if let Some((user, group)) = owner {
            // Programs such as `tmux` open it once more, by its name.
            rustix::fs::fchown(&slave, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
        }
        let three = [slave.try_clone()?.into(), slave.try_clone()?.into(), slave.into()];
        rustix::io::ioctl_fionbio(&master, true)?;
        // Not pipes, but read and written like them; one descriptor each, as one can be registered once.
        let reader = pipe::Receiver::from_owned_fd_unchecked(master.try_clone()?)?;
        let writer = pipe::Sender::from_owned_fd_unchecked(master.try_clone()?)?;
        Ok((Self { reader, writer, size: master }, three))
    }
}

/// Tells the terminal its size; its programs get SIGWINCH.
pub(super) fn resize(terminal: &OwnedFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}
