//! What the kernel takes for a client beyond what is on its way to it.
//!
//! Left alone it takes up to four megabytes, of ten thousand clients that hardly read as well. So it takes little at first, and more
//! once a client has shown that it takes what it gets.

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

/// A usual answer. Clients that hardly read get no further.
const AT_FIRST: u32 = 16 << 10;

/// Enough to keep any connection busy until there is more.
const TRUSTED: u32 = 128 << 10;

/// So many bytes taken are proof: those of a slow client have been on their way for a while.
const PROOF: u64 = 256 << 10;

/// For connections that come in here: they inherit it. A kernel that can't is no reason not to serve.
pub(crate) fn bound_at(listener: &TcpListener) {
    let _ = SockRef::from(listener).set_tcp_notsent_lowat(AT_FIRST);
}

/// Of `total` bytes that `peer` has taken, `now` are new.
#[inline]
pub(crate) fn note(peer: Option<&TcpStream>, now: usize, total: u64) {
    if total >= PROOF && total - (now as u64) < PROOF {
        let _ = peer.map(|peer| SockRef::from(peer).set_tcp_notsent_lowat(TRUSTED));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn trust_comes_once_with_what_was_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        bound_at(&listener);
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let bound = || SockRef::from(&accepted).tcp_notsent_lowat().unwrap();
        for (now, total, expected) in
            [(1000, 1000, AT_FIRST), (1000, PROOF - 1, AT_FIRST), (1, PROOF, TRUSTED)]
        {
            note(Some(&accepted), now, total);
            assert_eq!(bound(), expected, "after {total}");
        }
        // It isn't asked for again.
        SockRef::from(&accepted).set_tcp_notsent_lowat(AT_FIRST).unwrap();
        note(Some(&accepted), 1, PROOF + 1);
        assert_eq!(bound(), AT_FIRST);
    }
}
