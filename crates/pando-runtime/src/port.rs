//! Whether an address is free to listen on.

use std::net::SocketAddr;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// True when another socket listens there. Connections that were closed lately don't count, nor does any other reason for
/// which a program might not get the address: it will say so itself.
pub(crate) fn is_taken(address: SocketAddr) -> bool {
    matches!(try_bind(address), Err(Errno::ADDRINUSE))
}

/// Binds without listening, so that nobody can connect in that moment.
fn try_bind(address: SocketAddr) -> rustix::io::Result<()> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn listeners_take_a_port_and_old_connections_do_not() {
        for bound in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(bound).unwrap();
            let port = listener.local_addr().unwrap().port();
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            assert!(is_taken(address), "{bound}");
            // The side that closes first keeps the address in TIME_WAIT.
            let mut client = TcpStream::connect(address).unwrap();
            drop(listener.accept().unwrap());
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            drop(listener);
            drop(client);
            assert!(!is_taken(address), "{bound}");
        }
    }
}
