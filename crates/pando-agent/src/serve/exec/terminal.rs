//! A terminal for a command: our end of it, and the command's three streams.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use pando_api::v1::agents::TerminalSize;
use rustix::fs::{OFlags, Uid};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{self, InputModes, OptionalActions, SpecialCodeIndex, Winsize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::ready::watched;

/// Our end. When it is closed, the command's session is hung up.
#[derive(Debug)]
pub(super) struct Terminal {
    master: AsyncFd<OwnedFd>,
}

impl Terminal {
    /// Opens one that belongs to `owner`, so that the command can open it by its name too.
    pub(super) fn open(size: TerminalSize, owner: Option<u32>) -> io::Result<(Self, [Stdio; 3])> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        if let Some(owner) = owner {
            rustix::fs::fchown(&slave, Some(Uid::from_raw(owner)), None)?;
        }
        let mut modes = termios::tcgetattr(&slave)?;
        // Deleting a character then deletes all its bytes.
        modes.input_modes |= InputModes::IUTF8;
        termios::tcsetattr(&slave, OptionalActions::Now, &modes)?;
        rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
        let terminal = Self { master: watched(master, Interest::READABLE | Interest::WRITABLE)? };
        terminal.resize(size)?;
        Ok((terminal, [slave.try_clone()?.into(), slave.try_clone()?.into(), slave.into()]))
    }

    /// The command's foreground processes are told by SIGWINCH.
    pub(super) fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(termios::tcsetwinsize(self.master.get_ref(), size)?)
    }

    /// 0: nobody has it open any more, and all of the output was read. Cancel-safe.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = |master: &OwnedFd| match rustix::io::read(master, &mut *buffer) {
            Err(Errno::IO) => Ok(0),
            read => Ok(read?),
        };
        self.master.async_io(Interest::READABLE, read).await
    }

    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let write = |master: &OwnedFd| Ok(rustix::io::write(master, bytes)?);
            let written = self.master.async_io(Interest::WRITABLE, write).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// What a person types for the end of the input, such as Ctrl-D. Programs that read keys, not lines, see it as a key.
    pub(super) fn end_of_input(&self) -> io::Result<u8> {
        Ok(termios::tcgetattr(self.master.get_ref())?.special_codes[SpecialCodeIndex::VEOF])
    }
}
