//! Cut off from the control plane: the way round, through other servers.
//!
//! Every second two of them are asked for a newer table, which is believed by its
//! signature, and one of those who answer gets our report, signed by our key, to
//! hand it on. Nothing else of the control plane's goes this way: what is to run
//! here stays as it was.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use pando_api::client::{AgentClient, ClientError};
use pando_api::v1::agents::RelayedReport;
use pando_model::id::{InstanceId, ServerId};
use pando_routing::Table;
use pando_rt::error_chain::error_chain;
use pando_trust::Kind;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::contact::Contact;
use super::published::{HeldTable, Published};
use super::report::Reports;
use crate::peers::Peers;
use crate::reconcile::Event;
use crate::trust::Membership;

/// Servers that are asked at a time.
const FEW: usize = 2;

/// For one word of theirs. All that is done in a second ends before the next.
const WORD: Duration = Duration::from_millis(450);

pub(crate) struct Detour {
    pub(crate) contact: Contact,
    pub(crate) peers: Peers,
    pub(crate) published: Published,
    pub(crate) reports: Reports,
    pub(crate) membership: Membership,
    pub(crate) events: mpsc::Sender<Event>,
}

impl Detour {
    /// Runs until it is dropped, or nobody takes what it brings.
    pub(crate) async fn run(self) {
        loop {
            self.contact.time_to_ask().await;
            let before = self.published.held.borrow().table.clone();
            let asked = self.peers.some(FEW).into_iter().map(|(id, peer)| self.ask(id, peer));
            let answered: Vec<(ServerId, AgentClient)> =
                join_all(asked).await.into_iter().flatten().collect();
            if answered.is_empty() {
                continue;
            }
            let gone = gone_since(&before, &self.published.held.borrow().table);
            if self.events.send(Event::PeersHeard { gone }).await.is_err() {
                return;
            }
            self.hand_in(&answered).await;
        }
    }

    /// The peer, if it answered. What it has and is newer is taken.
    async fn ask(&self, id: ServerId, peer: AgentClient) -> Option<(ServerId, AgentClient)> {
        let have = self.published.version();
        match timeout(WORD, peer.newest_table(have)).await {
            Ok(Ok(Some(bytes))) => match self.published.read::<Table>(bytes, Kind::Table) {
                Ok(table) => {
                    let version = table.value.version;
                    if self.published.offer(Some(table), None) {
                        tracing::info!("the control plane is away; {id} had a newer table, {version}");
                    }
                }
                Err(error) => tracing::warn!("a table from {id} is not believed: {}", error_chain(&error)),
            },
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                tracing::debug!("{id}: {}", error_chain(&error));
                return None;
            }
            Err(_) => return None,
        }
        Some((id, peer))
    }

    /// Gives our report to the first that can hand it on.
    async fn hand_in(&self, peers: &[(ServerId, AgentClient)]) {
        let Some(body) = self.reports.make() else { return };
        let report = match RelayedReport::sign(body, &self.membership.identity.current()) {
            Ok(report) => report,
            Err(error) => return tracing::warn!("can't sign a report: {}", error_chain(&error)),
        };
        for (id, peer) in peers {
            match timeout(WORD, peer.relay_report(&report)).await {
                Ok(Ok(())) => return,
                // It is cut off as well, most likely.
                Ok(Err(ClientError::Refused(body))) => tracing::debug!("{id}: {body}"),
                Ok(Err(error)) => tracing::debug!("{id}: {}", error_chain(&error)),
                Err(_) => tracing::debug!("{id} is too slow to answer"),
            }
        }
    }
}

/// Endpoints that a newer table has no more.
fn gone_since(before: &HeldTable, now: &HeldTable) -> BTreeSet<InstanceId> {
    let ids = |held: &HeldTable| -> BTreeSet<InstanceId> {
        let endpoints = held.iter().flat_map(|held| held.value.endpoints());
        endpoints.map(|(_, endpoint)| InstanceId::from_uuid(endpoint.id.0)).collect()
    };
    &ids(before) - &ids(now)
}
