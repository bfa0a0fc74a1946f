//! Open files on their way from one process to another, over a Unix socket.
//!
//! What arrives is the file itself: a listening socket comes with the connections that wait in its queue.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

/// As many go with one message; the kernel takes 253.
pub const MOST: usize = 64;

/// Sends at most [`MOST`] files and one byte. They wait in the socket until they are received, even if the sender is gone by then.
///
/// # Errors
/// Too many, or what the kernel answers; `WouldBlock` on a socket that does not wait.
pub fn send(over: impl AsFd, files: &[impl AsFd]) -> io::Result<()> {
    // The buffer's own bound is rounded up, further or less far by where it lies.
    let too_many = || io::Error::new(io::ErrorKind::InvalidInput, format!("more than {MOST} files"));
    if files.len() > MOST {
        return Err(too_many());
    }
    let fds: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(too_many());
    }
    // At least one byte must go with them.
    rustix::net::sendmsg(over, &[IoSlice::new(b"L")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives what one [`send`] has sent, in its order; nothing if the sender has closed. They are closed on exec.
///
/// # Errors
/// What the kernel answers; `WouldBlock` on a socket that does not wait.
pub fn receive(over: impl AsFd) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(over, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut received = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            received.extend(fds);
        }
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn files_arrive_in_order_even_when_the_sender_is_gone() {
        let pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().unwrap()).collect();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let sent: Vec<_> = pairs.iter().map(|(one, _)| one).collect();
        send(&ours, &sent).unwrap();
        drop(ours);
        let received: Vec<UnixStream> = receive(&theirs).unwrap().into_iter().map(Into::into).collect();
        assert_eq!(received.len(), 3);
        for (n, (mut here, (_, mut there))) in received.into_iter().zip(pairs).enumerate() {
            here.write_all(&[u8::try_from(n).unwrap()]).unwrap();
            let mut byte = [9];
            there.read_exact(&mut byte).unwrap();
            assert_eq!(usize::from(byte[0]), n);
        }
        assert!(receive(&theirs).unwrap().is_empty());
    }

    #[test]
    fn more_than_go_with_one_message_are_refused() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(send(&ours, &vec![&ours; MOST]).is_ok());
        assert_eq!(send(&ours, &vec![&ours; MOST + 1]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
