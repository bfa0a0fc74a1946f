//! Where the load balancer listens: on sockets that it was given, on those of the proxy that it takes over from, on new ones.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context;
use pando_proxy::{Door, Predecessor};

use crate::daemons::args::ProxyArgs;
use crate::exit::Trouble;

/// Listening sockets by what they are for.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) plain: Vec<TcpListener>,
    pub(super) tls: Vec<TcpListener>,
    pub(super) metrics: Option<TcpListener>,
}

impl Doors {
    /// What the arguments ask for. `given` are the sockets that the service manager, or a keeper, holds too. Without any address, and
    /// without sockets that were given, those of the predecessor are taken as they are.
    pub(super) fn find(
        args: &ProxyArgs,
        mut given: Vec<TcpListener>,
        mut predecessor: Option<&mut Predecessor>,
    ) -> anyhow::Result<Self> {
        let mut tls = Vec::new();
        for address in &args.listen_tls {
            match take(&mut given, *address) {
                Some(listener) => tls.push(listener),
                None => tls.extend(from(predecessor.as_deref_mut(), Door::Tls, *address)?),
            }
        }
        let mut plain = given;
        for address in &args.listen {
            plain.extend(from(predecessor.as_deref_mut(), Door::Plain, *address)?);
        }
        if let (true, Some(predecessor)) = (plain.is_empty() && args.listen.is_empty(), &mut predecessor) {
            plain = predecessor.take(Door::Plain, None);
            if args.listen_tls.is_empty() {
                tls = predecessor.take(Door::Tls, None);
            }
        }
        if plain.is_empty() && tls.is_empty() {
            return Err(Trouble::wrong("nothing to listen on").hint("give `--listen ADDRESS:PORT`").into());
        }
        let metrics = args.metrics.map(|address| from(predecessor, Door::Metrics, address)).transpose()?;
        Ok(Self { plain, tls, metrics: metrics.and_then(|listeners| listeners.into_iter().next()) })
    }
}

/// The socket for that address, else for its port.
fn take(given: &mut Vec<TcpListener>, address: SocketAddr) -> Option<TcpListener> {
    let at: Vec<Option<SocketAddr>> = given.iter().map(|listener| listener.local_addr().ok()).collect();
    let same = at.iter().position(|at| *at == Some(address));
    let place = same.or_else(|| at.iter().position(|at| at.is_some_and(|at| at.port() == address.port())))?;
    Some(given.remove(place))
}

/// The predecessor's sockets at that address, or a new one.
fn from(
    predecessor: Option<&mut Predecessor>,
    door: Door,
    address: SocketAddr,
) -> anyhow::Result<Vec<TcpListener>> {
    let taken = predecessor.map(|predecessor| predecessor.take(door, Some(address))).unwrap_or_default();
    if !taken.is_empty() {
        return Ok(taken);
    }
    let bound = TcpListener::bind(address).with_context(|| format!("can't listen on {address}"))?;
    Ok(vec![bound])
}
