//! The control socket's place in the file system.
//!
//! A successor may start while we still drain: it puts its socket in the place of
//! ours in one step, and what we remove at our end is only our own.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The owner and its group: whoever may write a table decides where all traffic goes.
const MODE: u32 = 0o660;

/// A bound path; removed when dropped, unless a successor has taken the place.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    path: PathBuf,
    identity: (u64, u64),
}

/// Bound beside its path, where nobody looks for it; removed when dropped.
#[derive(Debug)]
pub(crate) struct Unplaced {
    path: PathBuf,
    beside: PathBuf,
}

impl ControlSocket {
    /// Listens beside `path`, so that [`Unplaced::place`] is all that is left to do. Nobody can connect before the mode is set.
    ///
    /// # Errors
    /// The directory can't be written to, the path is too long for a socket, or something else than a socket is there.
    pub(crate) fn bind(path: PathBuf) -> io::Result<(Unplaced, UnixListener)> {
        refuse_other_things(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let _ = std::fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside)?;
        let socket = Unplaced { path, beside };
        std::fs::set_permissions(&socket.beside, Permissions::from_mode(MODE))?;
        listener.set_nonblocking(true)?;
        Ok((socket, listener))
    }
}

impl Unplaced {
    /// In the place of a socket that may be there, in one step.
    ///
    /// # Errors
    /// The directory can't be written to.
    pub(crate) fn place(self) -> io::Result<ControlSocket> {
        let identity = identity(&self.beside)?;
        std::fs::rename(&self.beside, &self.path)?;
        Ok(ControlSocket { path: self.path.clone(), identity })
    }
}

impl Drop for Unplaced {
    fn drop(&mut self) {
        // Once it is placed there is none.
        let _ = std::fs::remove_file(&self.beside);
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|there| there == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn refuse_other_things(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => Ok(()),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is not a socket is there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let there = std::fs::symlink_metadata(path)?;
    Ok((there.dev(), there.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_successor_takes_the_place_and_keeps_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("proxy.sock");
        let bind = |path: &Path| {
            let (socket, listener) = ControlSocket::bind(path.to_owned()).unwrap();
            (socket.place().unwrap(), listener)
        };
        let (first, _listener) = bind(&path);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        // One that gives up before it is in place changes nothing.
        drop(ControlSocket::bind(path.clone()).unwrap());
        UnixStream::connect(&path).unwrap();
        let (second, listener) = bind(&path);
        drop(first);
        UnixStream::connect(&path).unwrap();
        listener.accept().unwrap();
        drop(second);
        assert!(!path.exists());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_of_somebody_else_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        assert!(ControlSocket::bind(path.clone()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
    }
}
