//! Joining a cluster: this server's place in it, got with a word that its control plane gave.
//!
//! How a lost answer is asked for again is the agent's to know; here is what the
//! server says of itself, and who it is from then on.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::Context;
use pando_agent::Description;
use pando_model::name::ServerName;
use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use pando_trust::{ClusterUrl, JoinWord};

use super::found::settled;
use super::layout::Layout;
use super::me::Me;
use super::server::lock_as_newcomer;

/// What the server says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Joining {
    pub(crate) word: JoinWord,
    pub(crate) name: ServerName,
    pub(crate) private_address: IpAddr,
    pub(crate) public_address: Option<IpAddr>,
    /// Where the agent listens. Port 0: one that is free, kept from then on.
    pub(crate) agent: SocketAddr,
    pub(crate) http: Vec<SocketAddr>,
    /// `None`: see [`Me::https`].
    pub(crate) https: Option<Vec<SocketAddr>>,
    pub(crate) dev: bool,
}

/// Asks for a place in the cluster and writes down what came of it.
pub(crate) async fn join(layout: &Layout, joining: &Joining) -> anyhow::Result<Me> {
    let _lock = lock_as_newcomer(layout)?;
    let agent = settled(joining.agent, "the agent")?;
    let description = Description {
        name: joining.name.clone(),
        private_address: joining.private_address,
        public_address: joining.public_address,
        agent_address: agent,
        capacity: pando_agent::capacity::read(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let clock = Clock::system();
    let joined = pando_agent::join(&joining.word, &description, &layout.trust(), &clock).await?;
    let me = Me {
        id: joined.server,
        name: joined.name,
        joined_at: Timestamp::from_millis(clock.now_millis()),
        private_address: joining.private_address,
        agent,
        api: None,
        control: joining.word.url.to_string(),
        http: joining.http.clone(),
        https: joining.https.clone(),
        dev: joining.dev,
    };
    me.save(&layout.identity())?;
    Ok(me)
}

/// The address of this server that it would reach `url` from; nothing is sent.
pub(crate) fn own_address(url: &ClusterUrl) -> anyhow::Result<IpAddr> {
    let target = (url.host().trim_matches(['[', ']']), url.port());
    let failed =
        || format!("can't tell from which address this server reaches {}; give it: --private-ip", url.host());
    let socket = UdpSocket::bind("0.0.0.0:0").or_else(|_| UdpSocket::bind("[::]:0")).with_context(failed)?;
    socket.connect(target).with_context(failed)?;
    Ok(socket.local_addr().with_context(failed)?.ip())
}
