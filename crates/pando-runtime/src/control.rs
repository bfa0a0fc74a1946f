//! How a shim is spoken to: JSON lines over a Unix socket in its directory.
//!
//! Whoever may open the directory (0700) may speak. A connection gets [`Told::Ended`] the moment the run ends; its closing
//! without that means that the shim died.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use pando_model::observed::ExitReport;
use pando_model::time::Millis;
use serde::{Deserialize, Serialize};

use crate::proc::Process;

/// What a shim is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Answered with [`Told::Stopping`].
    Stop { timeout: Millis },
}

/// What a shim tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    Stopping,
    Ended { exit: ExitReport },
}

/// What a shim answers on its stdout, once, to who started it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Started { child: Process },
    Refused { why: String },
}

/// The longest line either side accepts.
pub(crate) const LONGEST_LINE: u64 = 256 * 1024;

/// The socket's address by way of an open directory: an address holds 108 bytes, a path more.
#[derive(Debug)]
pub(crate) struct Address {
    directory: OwnedFd,
}

impl Address {
    pub(crate) fn of(directory: &Path) -> io::Result<Self> {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        let file = File::options().read(true).custom_flags(flags).open(directory)?;
        Ok(Self { directory: file.into() })
    }

    /// Holds as long as `self` does.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}/control.sock", self.directory.as_raw_fd()).into()
    }
}

/// Listens without ever blocking. A socket that an earlier holder of the directory's lock left is replaced.
pub(crate) fn listen(directory: &Path) -> io::Result<UnixListener> {
    let address = Address::of(directory)?;
    match std::fs::remove_file(address.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(address.path())?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

pub(crate) fn to_line<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message).map_err(io::Error::other)?;
    line.push(b'\n');
    Ok(line)
}
