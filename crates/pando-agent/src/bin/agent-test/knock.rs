//! Both ends of connections.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::Failure;

/// Between machines on one bridge it takes microseconds; what is dropped is never answered.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Accepts connections at every port, on all addresses of both families, until it is killed. Says so when it begins.
pub(crate) fn listen(ports: &[&str]) -> Result<(), Failure> {
    let mut threads = Vec::new();
    for port in ports {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port.parse()?))?;
        // Each is answered by being accepted.
        threads.push(std::thread::spawn(move || listener.incoming().for_each(drop)));
    }
    println!("listening");
    std::io::stdout().flush()?;
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

/// Prints each place that accepts a connection.
pub(crate) fn knock(places: &[&str]) -> Result<(), Failure> {
    let mut attempts = Vec::new();
    for place in places {
        let place: SocketAddr = place.parse()?;
        attempts
            .push((place, std::thread::spawn(move || TcpStream::connect_timeout(&place, PATIENCE).is_ok())));
    }
    for (place, attempt) in attempts {
        if attempt.join().is_ok_and(|open| open) {
            println!("{place}");
        }
    }
    Ok(())
}

/// Where this machine alone is answered by `place`: each connection is one of its own there, too.
pub(crate) fn relay(place: SocketAddr) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || join(&stream, &TcpStream::connect(place)?));
        }
    });
    Ok(address)
}

fn join(one: &TcpStream, other: &TcpStream) -> std::io::Result<()> {
    let (from, to) = (one.try_clone()?, other.try_clone()?);
    let back = std::thread::spawn(move || pass(&to, &from));
    pass(one, other)?;
    let _ = back.join();
    Ok(())
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) -> std::io::Result<()> {
    let copied = std::io::copy(&mut from, &mut to);
    // Whoever still sends is told that nobody reads.
    let _ = to.shutdown(Shutdown::Write);
    copied.map(drop)
}
