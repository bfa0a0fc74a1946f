//! Who is at the other end of a client's connection.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::tls::Session;
use crate::upstream::Ends;

/// A client, as the replica and the log are told of it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Its address without the port.
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// Where it connected to, if anybody wants to know.
    pub(crate) here: Option<SocketAddr>,
    /// The address as text, in its shortest form.
    pub(crate) ip: IpText,
    /// Nobody on the way between the client and us can read along: what replicas see as `https`.
    pub(crate) secure: bool,
    /// What our own handshake with it has settled.
    pub(crate) session: Option<Arc<Session>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, secure: bool) -> Self {
        let (address, port) = (address.ip().to_canonical(), address.port());
        let mut ip = IpText { bytes: [0; 45], len: 0 };
        // It has room for the longest address.
        let _ = write!(ip, "{address}");
        Self { address, port, here: None, ip, secure, session: None }
    }

    /// Its connection, by both ends.
    pub(crate) fn ends(&self) -> Ends {
        Ends { client: SocketAddr::new(self.address, self.port), here: self.here }
    }
}

/// An address as text, written once for all requests of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IpText {
    bytes: [u8; 45],
    len: usize,
}

impl IpText {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Write for IpText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_room() {
        for (address, text) in [
            ("10.0.0.1:5", "10.0.0.1"),
            ("[::ffff:255.255.255.255]:5", "255.255.255.255"),
            ("[1111:2222:3333:4444:5555:6666:7777:8888]:5", "1111:2222:3333:4444:5555:6666:7777:8888"),
        ] {
            assert_eq!(Client::new(address.parse().unwrap(), false).ip.bytes(), text.as_bytes());
        }
    }
}
