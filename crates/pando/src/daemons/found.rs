//! Making a cluster: its first server, with the control plane.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail};
use pando_control::store::{Key, Outcome, Store, Txn, sqlite};
use pando_control::trust::Trust;
use pando_model::desired::Settings;
use pando_model::id::{Entropy, ServerId};
use pando_model::name::{RoleName, ServerName};
use pando_model::server::{Server, Standing};
use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use pando_trust::{ClusterUrl, Fingerprint, Identity, PendingIdentity, Vault};

use super::layout::Layout;
use super::me::Me;

/// What the first server is to be.
#[derive(Debug, Clone)]
pub(crate) struct Founding {
    pub(crate) name: ServerName,
    pub(crate) roles: BTreeSet<RoleName>,
    pub(crate) private_address: IpAddr,
    pub(crate) public_address: Option<IpAddr>,
    /// Where the API listens. Port 0: one that is free, kept from then on; likewise below.
    pub(crate) api: SocketAddr,
    pub(crate) agent: SocketAddr,
    pub(crate) http: Vec<SocketAddr>,
    /// `None`: see [`Me::https`].
    pub(crate) https: Option<Vec<SocketAddr>>,
    pub(crate) dev: bool,
}

/// Every role that this version gives a meaning: what the first server of a cluster has.
pub(crate) const EVERYTHING: [&str; 7] = ["web", "worker", "cron", "lb", "db", "cache", "control"];

/// Makes the cluster's store and this server's place in it. What a crash left half made is made whole by the next try.
pub(crate) async fn found(layout: &Layout, founding: &Founding) -> anyhow::Result<Me> {
    let _lock = super::server::lock_as_newcomer(layout)?;
    let clock = Clock::system();
    let now = Timestamp::from_millis(clock.now_millis());
    let store = sqlite::open(&layout.store())?;
    let trust = Trust::open(&store, Vault::open(&layout.vault())?, founding.name.as_str(), &clock).await?;
    let me = describe(founding, trust.fingerprint(), now)?;
    certify(&trust, &me, now)?.save(&layout.trust())?;
    let settings = Settings { open_host: founding.dev, one_machine: founding.dev, ..Settings::default() };
    // A half-made cluster had another id for this server: nobody has spoken to it.
    let old = store.list(pando_control::store::Range::prefix(pando_control::store::keys::SERVERS)).await?.1;
    let mut made = Txn::new().put(Key::Epoch, &1_u64)?.put(Key::cluster_settings(), &settings)?;
    for key in old.iter().filter_map(|entry| entry.key.parse::<Key>().ok()) {
        made = made.delete(&key);
    }
    let made = made.put(Key::ServerSpec(me.id), &server(&me, founding))?;
    if store.txn(made).await? == Outcome::Conflict {
        bail!("somebody else makes a cluster in `{}` at this moment", layout.root().display());
    }
    me.save(&layout.identity())?;
    Ok(me)
}

/// The first server's own identity comes straight from the authority, which is here.
fn certify(trust: &Trust, me: &Me, now: Timestamp) -> anyhow::Result<Identity> {
    let pending = PendingIdentity::make()?;
    let certificate = trust.certify(&pending.request()?, me.id)?;
    Ok(pending.certified(&certificate, trust.anchor().clone(), now)?)
}

fn describe(founding: &Founding, authority: Fingerprint, now: Timestamp) -> anyhow::Result<Me> {
    let seed = getrandom::u64().context("the system has no randomness")?;
    let api = settled(founding.api, "the API")?;
    let agent = settled(founding.agent, "the agent")?;
    Ok(Me {
        id: ServerId::new(now, &mut Entropy::from_seed(seed)),
        name: founding.name.clone(),
        joined_at: now,
        private_address: founding.private_address,
        agent,
        api: Some(api),
        control: address(api, founding, authority)?.to_string(),
        http: founding.http.clone(),
        https: founding.https.clone(),
        dev: founding.dev,
    })
}

fn server(me: &Me, founding: &Founding) -> Server {
    Server {
        id: me.id,
        name: me.name.clone(),
        roles: founding.roles.clone(),
        private_address: me.private_address,
        public_address: founding.public_address,
        agent_address: me.agent,
        capacity: pando_agent::capacity::read(),
        labels: BTreeMap::new(),
        standing: Standing::Active,
        joined_at: me.joined_at,
    }
}

/// The address with a port that is free, where none was named. Fails early when the named one is taken.
pub(crate) fn settled(address: SocketAddr, what: &str) -> anyhow::Result<SocketAddr> {
    let listener = super::server::listen(address, what)?;
    Ok(listener.local_addr()?)
}

/// Where the cluster's servers reach the API: what listens on an unspecified address is everywhere.
fn address(api: SocketAddr, founding: &Founding, authority: Fingerprint) -> anyhow::Result<ClusterUrl> {
    let host = if api.ip().is_unspecified() { founding.private_address } else { api.ip() };
    Ok(ClusterUrl::new(&host.to_string(), api.port(), authority)?)
}
