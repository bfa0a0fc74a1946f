//! The other servers' agents, as this server's newest assignment names them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use pando_api::AgentClient;
use pando_model::assignment::Assignment;
use pando_model::id::{Entropy, ServerId};
use pando_rt::error_chain::error_chain;
use tokio::sync::watch;
use uuid::Uuid;

use crate::trust::Trust;

/// Clones share the clients, and with them connections.
#[derive(Clone)]
pub(crate) struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    assignment: watch::Receiver<Arc<Assignment>>,
    trust: Trust,
    known: Mutex<Known>,
}

struct Known {
    clients: BTreeMap<ServerId, (SocketAddr, AgentClient)>,
    entropy: Entropy,
}

impl Peers {
    pub(crate) fn new(assignment: watch::Receiver<Arc<Assignment>>, trust: Trust) -> Self {
        // The low half is random.
        let seed = Uuid::now_v7().as_u64_pair().1;
        let known = Known { clients: BTreeMap::new(), entropy: Entropy::from_seed(seed) };
        Self { inner: Arc::new(Inner { assignment, trust, known: Mutex::new(known) }) }
    }

    /// At most `count` of them, by chance.
    pub(crate) fn some(&self, count: usize) -> Vec<(ServerId, AgentClient)> {
        let assignment = Arc::clone(&self.inner.assignment.borrow());
        let mut known = self.inner.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clients.retain(|id, _| assignment.peers.iter().any(|peer| peer.server == *id));
        let mut left: Vec<(ServerId, SocketAddr)> =
            assignment.peers.iter().map(|peer| (peer.server, peer.agent_address)).collect();
        let mut chosen = Vec::new();
        while chosen.len() < count && !left.is_empty() {
            let at = usize::try_from(known.entropy.next_u64() % left.len() as u64).unwrap_or(0);
            let (id, address) = left.swap_remove(at);
            chosen.extend(self.client(&mut known, id, address).map(|client| (id, client)));
        }
        chosen
    }

    fn client(&self, known: &mut Known, id: ServerId, address: SocketAddr) -> Option<AgentClient> {
        if let Some((at, client)) = known.clients.get(&id)
            && *at == address
        {
            return Some(client.clone());
        }
        let made = self.inner.trust.peer(id, address);
        let client =
            made.inspect_err(|error| tracing::debug!("can't ask {id}: {}", error_chain(error))).ok()?;
        known.clients.insert(id, (address, client.clone()));
        Some(client)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pando_api::Bearer;
    use pando_model::assignment::Peer;

    use super::*;

    fn server(n: u8) -> ServerId {
        ServerId::from_uuid(Uuid::from_u128(u128::from(n)))
    }

    fn with(count: u8) -> Arc<Assignment> {
        let peer = |n: u8| Peer {
            server: server(n),
            name: format!("s{n}").parse().unwrap(),
            agent_address: SocketAddr::from(([127, 0, 0, n], 7421)),
        };
        Arc::new(Assignment { peers: (1..=count).map(peer).collect(), ..Assignment::empty(server(0)) })
    }

    fn ids(chosen: Vec<(ServerId, AgentClient)>) -> BTreeSet<ServerId> {
        chosen.into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn some_are_chosen_by_chance_none_twice_and_only_those_of_the_newest_assignment() {
        let (newest, assignment) = watch::channel(with(0));
        let token = Bearer::new("pando_x").unwrap();
        let peers = Peers::new(assignment, Trust::Tokens { control: token.clone(), own: token });
        assert!(peers.some(2).is_empty());
        newest.send_replace(with(9));
        let mut seen = BTreeSet::new();
        for _ in 0..300 {
            let two = ids(peers.some(2));
            assert_eq!(two.len(), 2);
            seen.extend(two);
        }
        assert_eq!(seen.len(), 9, "each has its turn");
        assert_eq!(ids(peers.some(20)).len(), 9);
        newest.send_replace(with(1));
        assert_eq!(ids(peers.some(2)), BTreeSet::from([server(1)]));
        assert_eq!(peers.inner.known.lock().unwrap().clients.len(), 1);
    }
}
