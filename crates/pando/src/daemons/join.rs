//! Joining a cluster: this server's place in it, got with a word that its control plane gave.
//!
//! The key is made here and never leaves. It is kept until the answer has come, so
//! that a join whose answer was lost can be asked for again with the same word.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;

use anyhow::{Context, bail};
use pando_api::auth::Bearer;
use pando_api::client::Client;
use pando_api::v1::join::{JoinAnswer, JoinRequest};
use pando_model::name::ServerName;
use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use pando_rt::fs::{read_if_there, write_atomically};
use pando_trust::{ClusterUrl, JoinWord, PendingIdentity};

use super::found::settled;
use super::layout::Layout;
use super::me::Me;
use super::server::lock;

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
    pub(crate) dev: bool,
}

/// Asks for a place in the cluster and writes down what came of it.
pub(crate) async fn join(layout: &Layout, joining: &Joining) -> anyhow::Result<Me> {
    let _lock = lock(layout)?;
    if let Some(me) = Me::load(&layout.identity())? {
        bail!("this server is `{}` of a cluster already (`{}`)", me.name, layout.identity().display());
    }
    let agent = settled(joining.agent, "the agent")?;
    let pending = pending_key(&layout.pending_key())?;
    let answer = ask(joining, agent, &pending).await?;
    let now = Timestamp::from_millis(Clock::system().now_millis());
    let identity = pending.certified(&answer.certificate, answer.authority, now)?;
    identity.save(&layout.trust())?;
    let me = Me {
        id: answer.server,
        name: answer.name,
        joined_at: now,
        private_address: joining.private_address,
        agent,
        api: None,
        control: joining.word.url.to_string(),
        http: joining.http.clone(),
        dev: joining.dev,
    };
    me.save(&layout.identity())?;
    // Of no use any more; the identity holds the key.
    let _ = std::fs::remove_file(layout.pending_key());
    Ok(me)
}

async fn ask(joining: &Joining, agent: SocketAddr, pending: &PendingIdentity) -> anyhow::Result<JoinAnswer> {
    let token = Bearer::new(joining.word.secret.reveal())?;
    let client = Client::new(&joining.word.url.to_string(), Some(token))?;
    let request = JoinRequest {
        request: pending.request()?,
        name: joining.name.clone(),
        private_address: joining.private_address,
        public_address: joining.public_address,
        agent_address: agent,
        capacity: pando_agent::capacity::read(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(client.join(&request).await?)
}

fn pending_key(path: &Path) -> anyhow::Result<PendingIdentity> {
    let held = read_if_there(path).with_context(|| format!("can't read `{}`", path.display()))?;
    if let Some(pem) = held.and_then(|bytes| String::from_utf8(bytes).ok())
        && let Ok(pending) = PendingIdentity::from_key_pem(&pem)
    {
        return Ok(pending);
    }
    let pending = PendingIdentity::make()?;
    write_atomically(path, pending.key_pem().as_bytes(), 0o600)
        .with_context(|| format!("can't write `{}`", path.display()))?;
    Ok(pending)
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
