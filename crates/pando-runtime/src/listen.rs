//! Listening sockets that outlive the programs that use them.
//!
//! Two ways lead to a program that asks [`inherited`] for its sockets. systemd passes descriptors by number (`LISTEN_FDS`,
//! `LISTEN_PID`). The keeper ([`crate::shim::keep`]) sends them over a Unix socket that is the program's stdin, and says so in
//! the variable `PANDO_LISTEN` (how many there are): that way needs neither a pid that is only known after the start, nor
//! descriptors at fixed numbers.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use listenfd::ListenFd;
use pando_rt::fds;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Set for a kept program: how many sockets wait on its stdin.
pub const VARIABLE: &str = "PANDO_LISTEN";

/// Connections that may wait while nobody accepts, such as while the program is started again. The kernel's own limit
/// (`net.core.somaxconn`) is the same since Linux 5.4.
const BACKLOG: i32 = 4096;

/// What this program was started with.
#[derive(Debug, Default)]
pub struct Inherited {
    /// In the order of whoever gave them; none: the program has to bind its own.
    pub listeners: Vec<TcpListener>,
    /// A keeper waits to hear that the program serves.
    pub keeper: Option<KeeperLine>,
}

/// The line to this program's keeper.
#[derive(Debug)]
pub struct KeeperLine(OwnedFd);

/// Said to the keeper.
pub(crate) const SERVES: u8 = b'S';

impl KeeperLine {
    /// Says that connections are taken. A keeper that started this program to take another one's place lets go of that one then.
    ///
    /// # Errors
    /// The keeper is gone.
    pub fn serves(&self) -> io::Result<()> {
        rustix::net::send(&self.0, &[SERVES], rustix::net::SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

/// The listening sockets that this program was started with. To be called once, at the start: the sockets are handed out, and a
/// keeper's stdin is replaced by `/dev/null`.
///
/// # Errors
/// When sockets were announced and can't be had, or are no TCP listeners.
pub fn inherited() -> io::Result<Inherited> {
    match std::env::var(VARIABLE) {
        Ok(count) => {
            let wanted = count.parse().ok().filter(|count| *count <= fds::MOST);
            let wanted = wanted
                .ok_or_else(|| io::Error::other(format!("{VARIABLE}={count} is not a number of sockets")))?;
            from_keeper(wanted)
        }
        Err(_) => from_systemd(),
    }
}

fn from_keeper(wanted: usize) -> io::Result<Inherited> {
    let received = fds::receive(rustix::stdio::stdin()).map_err(|error| {
        io::Error::new(error.kind(), format!("{VARIABLE} is set, but stdin gives no sockets: {error}"))
    })?;
    if received.len() != wanted {
        return Err(io::Error::other(format!("stdin gave {} sockets, not {wanted}", received.len())));
    }
    let line = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    let listeners = received.into_iter().map(TcpListener::from).collect();
    Ok(Inherited { listeners, keeper: Some(KeeperLine(line)) })
}

fn from_systemd() -> io::Result<Inherited> {
    let mut given = ListenFd::from_env();
    let listeners: io::Result<Vec<Option<TcpListener>>> =
        (0..given.len()).map(|place| given.take_tcp_listener(place)).collect();
    Ok(Inherited { listeners: listeners?.into_iter().flatten().collect(), keeper: None })
}

/// Binds and listens on each address. An error names the address.
pub(crate) fn bind_all(addresses: &[SocketAddr]) -> io::Result<Vec<OwnedFd>> {
    let bind = |address: &SocketAddr| {
        // Beside an IPv4 socket on the same port an IPv6 one must leave IPv4 to it; alone it serves both.
        let only_v6 = addresses.iter().any(|other| other.is_ipv4() && other.port() == address.port());
        bind_one(*address, only_v6).map_err(|error| explain(*address, error))
    };
    addresses.iter().map(bind).collect()
}

fn bind_one(address: SocketAddr, only_v6: bool) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, only_v6)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn explain(address: SocketAddr, error: rustix::io::Errno) -> io::Error {
    let text = match error {
        rustix::io::Errno::ADDRINUSE => format!("another program listens on {address}"),
        rustix::io::Errno::ACCESS => {
            format!("no permission to listen on {address}: ports below 1024 are for root")
        }
        rustix::io::Errno::ADDRNOTAVAIL => format!("this machine has no address {}", address.ip()),
        other => format!("can't listen on {address}: {other}"),
    };
    io::Error::new(io::Error::from(error).kind(), text)
}

/// The address that a listening TCP socket has. `None`: it is something else.
pub(crate) fn listening_address(socket: impl AsFd) -> Option<SocketAddr> {
    let listens = sockopt::socket_acceptconn(&socket).ok()?
        && sockopt::socket_type(&socket).ok()? == SocketType::STREAM;
    let address = rustix::net::getsockname(&socket).ok()?;
    listens.then(|| SocketAddr::try_from(address).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn sockets_arrive_in_order_even_when_the_sender_is_gone() {
        let sockets = bind_all(&["127.0.0.1:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()]).unwrap();
        let addresses: Vec<_> = sockets.iter().map(|socket| listening_address(socket).unwrap()).collect();
        let (ours, theirs) = UnixStream::pair().unwrap();
        fds::send(&ours, &sockets).unwrap();
        drop((ours, sockets));
        let received = fds::receive(&theirs).unwrap();
        let arrived: Vec<_> = received.iter().map(|socket| listening_address(socket).unwrap()).collect();
        assert_eq!(arrived, addresses);
        assert!(fds::receive(&theirs).unwrap().is_empty());
    }

    #[test]
    fn a_taken_address_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = bind_all(&[address]).unwrap_err();
        assert_eq!(error.to_string(), format!("another program listens on {address}"));
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let elsewhere = bind_all(&["192.0.2.1:0".parse().unwrap()]).unwrap_err();
        assert_eq!(elsewhere.to_string(), "this machine has no address 192.0.2.1");
    }

    #[test]
    fn both_families_share_a_port() {
        let free = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let both = [
            SocketAddr::from(([0, 0, 0, 0], port)),
            SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port)),
        ];
        assert_eq!(bind_all(&both).unwrap().len(), 2);
    }

    #[test]
    fn what_does_not_listen_has_no_listening_address() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(listening_address(&one), None);
    }
}
