//! File descriptors that can be waited for.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `fd` must be in non-blocking mode if it is read or written.
#[expect(
    deprecated,
    reason = "its successor is unsafe for the sake of types that change their descriptor; an OwnedFd never does"
)]
pub(super) fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
