//! Bytes that were read and not used yet.
//!
//! An inbox holds memory only while it holds bytes: an idle connection costs none.
//! What it gives back goes to the next connection of the same thread.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncRead;
use tokio::net::TcpStream;

/// What one read takes at first: most requests and answers, whole.
const SIZE: usize = 16 << 10;

/// What reads grow to where a body keeps filling them, and what it fills is used up.
const LARGE: usize = 64 << 10;

/// So many free buffers are kept by each thread; a burst gives the rest back to the system.
const KEPT: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer with a start: bytes come in at the end and are used up from the front.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    /// So many reads in a row have filled it.
    filled: u8,
}

impl Inbox {
    /// A copy of `bytes`.
    pub(crate) fn holding(bytes: &[u8]) -> Self {
        let mut inbox = Self::default();
        if !bytes.is_empty() {
            inbox.make_room(bytes.len());
            inbox.bytes.extend_from_slice(bytes);
        }
        inbox
    }

    /// What `write` appends to an empty buffer.
    pub(crate) fn written(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut inbox = Self::default();
        inbox.make_room(1);
        write(&mut inbox.bytes);
        inbox
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Keeps the first `count` bytes here, and answers with what follows them.
    pub(crate) fn split_off(&mut self, count: usize) -> Self {
        let rest = Self::holding(&self.bytes()[count.min(self.len())..]);
        self.bytes.truncate(self.start + count);
        rest
    }

    /// Reads what is there, once. 0: the other side has closed. With nothing to read it holds on to no memory.
    pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
    ) -> Poll<io::Result<usize>> {
        self.grow();
        self.make_room(1);
        let read = tokio_util::io::poll_read_buf(Pin::new(reader), cx, &mut self.bytes);
        match read {
            Poll::Ready(Ok(count)) => {
                let full = count >= SIZE && self.bytes.len() == self.bytes.capacity();
                self.filled = if full { self.filled.saturating_add(1) } else { 0 };
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.release_if_empty(),
        }
        read
    }

    /// As [`Inbox::poll_fill`], from a socket: asks first whether there is anything, which costs less than room for what doesn't
    /// come.
    pub(crate) fn poll_fill_tcp(
        &mut self,
        cx: &mut Context<'_>,
        tcp: &mut TcpStream,
    ) -> Poll<io::Result<usize>> {
        if tcp.poll_read_ready(cx).is_pending() {
            self.release_if_empty();
            return Poll::Pending;
        }
        self.poll_fill(cx, tcp)
    }

    /// Gives the memory back if there is nothing in it.
    pub(crate) fn release_if_empty(&mut self) {
        if self.is_empty() {
            give(std::mem::take(&mut self.bytes));
            self.start = 0;
            self.filled = 0;
        }
    }

    /// Filled twice, and used up: there is more where this came from, and somebody takes it.
    fn grow(&mut self) {
        let size = self.bytes.capacity();
        if self.filled >= 2 && self.is_empty() && size < LARGE {
            self.bytes = Vec::with_capacity(size.saturating_mul(2).min(LARGE));
        }
    }

    fn make_room(&mut self, room: usize) {
        if self.bytes.capacity() == 0 {
            self.bytes = take();
        }
        if self.start > 0 && self.bytes.capacity() - self.bytes.len() < room.max(SIZE / 4) {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        if self.bytes.capacity() - self.bytes.len() < room {
            self.bytes.reserve(room.max(self.bytes.capacity()));
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.bytes));
    }
}

fn take() -> Vec<u8> {
    let free = FREE.try_with(|free| free.borrow_mut().pop()).ok().flatten();
    free.unwrap_or_else(|| Vec::with_capacity(SIZE))
}

fn give(mut bytes: Vec<u8>) {
    if bytes.capacity() != SIZE {
        return;
    }
    bytes.clear();
    // A thread that ends keeps nothing.
    let _ = FREE.try_with(|free| {
        let mut free = free.borrow_mut();
        if free.len() < KEPT {
            free.push(bytes);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_goes_out_in_order() {
        let mut inbox = Inbox::holding(b"abcdef");
        inbox.consume(2);
        assert_eq!((inbox.bytes(), inbox.len()), (&b"cdef"[..], 4));
        let rest = inbox.split_off(1);
        assert_eq!((inbox.bytes(), rest.bytes()), (&b"c"[..], &b"def"[..]));
        inbox.consume(9);
        assert!(inbox.is_empty());
    }

    #[tokio::test]
    async fn reads_grow_once_two_were_full_and_used_up() {
        let mut inbox = Inbox::default();
        let mut endless = tokio::io::repeat(7);
        let mut fill = |inbox: &mut Inbox| {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let Poll::Ready(Ok(count)) = inbox.poll_fill(&mut cx, &mut endless) else { panic!("endless") };
            count
        };
        assert_eq!(fill(&mut inbox), SIZE);
        inbox.consume(SIZE - 1);
        // What somebody hardly takes doesn't grow.
        fill(&mut inbox);
        assert_eq!(inbox.bytes.capacity(), SIZE);
        let mut sizes = Vec::new();
        for _ in 0..5 {
            inbox.consume(usize::MAX - LARGE);
            sizes.push(fill(&mut inbox));
        }
        assert_eq!(sizes, [SIZE, SIZE, 2 * SIZE, LARGE, LARGE]);
        inbox.consume(LARGE);
        inbox.release_if_empty();
        assert_eq!(fill(&mut inbox), SIZE);
    }

    #[test]
    fn an_empty_one_holds_no_memory() {
        let mut inbox = Inbox::holding(b"abc");
        inbox.release_if_empty();
        assert_eq!(inbox.bytes(), b"abc");
        inbox.consume(3);
        inbox.release_if_empty();
        assert_eq!(inbox.bytes.capacity(), 0);
    }
}
