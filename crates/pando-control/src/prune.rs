//! What nothing needs any more, on servers and in the control plane's own store.
//!
//! Servers know for themselves what they keep; here they are asked, all at once. In the store it is the artifacts that no kept
//! release names. Somebody may be about to deploy one of them, so it stays for a day after its last use, or, as long as
//! nobody sends anything, for an hour.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use pando_api::v1::agents::MAX_NEWS;
use pando_api::v1::prune::{PruneAnswer, PruneKind, PruneThing, Pruning, ServerPruning};
use pando_api::{AgentClient, ErrorBody, ErrorCode};
use pando_model::name::ServerName;
use pando_model::release::Digest;
use pando_model::resources::Bytes;
use pando_model::server::Server;
use pando_plan::{Input, Liveness};
use pando_rt::error_chain::error_chain;

use crate::artifacts::{Artifacts, UNUSED_FOR};
use crate::events::{self, Draft};
use crate::servers;
use crate::shared::Shared;
use crate::state::State;
use crate::store::{StoreError, Txn};

/// While a deploy is under way, something of what it sends was used within that time.
const QUIET_FOR: Duration = Duration::from_secs(3600);

/// Whether things are looked at or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Look,
    Remove,
}

/// On all servers and in the store, or on one server.
///
/// # Errors
/// When there is no such server, or the store can't be read. What is wrong with a server stands in the answer.
pub(crate) async fn prune(
    shared: &Shared,
    state: &State,
    deed: Deed,
    only: Option<&ServerName>,
) -> Result<PruneAnswer, ErrorBody> {
    let mut wanted: Vec<&Server> = match only {
        Some(name) => vec![servers::find(&state.world, name)?],
        None => state.world.servers.values().collect(),
    };
    wanted.sort_by(|one, other| one.name.cmp(&other.name));
    let observed = Arc::clone(&shared.observed.borrow());
    let input = Input { desired: &state.world, observed: &observed, now: shared.now(), seed: 0 };
    let asked = join_all(wanted.into_iter().map(|server| {
        let lost = input.liveness(server.id) == Liveness::Lost;
        async move { if lost { away(server) } else { on_server(shared, server, deed).await } }
    }));
    let here = async { if only.is_some() { Ok(None) } else { store(shared, state, deed).await.map(Some) } };
    let (mut servers, control) = tokio::join!(asked, here);
    let control = control?;
    servers.iter_mut().filter_map(|server| server.pruning.as_mut()).for_each(|pruning| keep(state, pruning));
    let all = servers.iter().filter_map(|server| server.pruning.as_ref()).chain(&control);
    let bytes = all.map(|pruning| pruning.bytes).sum();
    Ok(PruneAnswer { removed: deed == Deed::Remove, servers, control, bytes })
}

/// A server speaks of volumes of which it keeps no release. They may be another's on the same engine, or wait for their app to come back
/// there: of an app that the cluster knows none is left over.
fn keep(state: &State, pruning: &mut Pruning) {
    let is_known = |app: &str| state.world.apps.keys().any(|known| known.as_str() == app);
    pruning.volumes.retain(|volume| !is_known(&volume.app));
}

/// There is no use in waiting for who has not been heard of for long.
fn away(server: &Server) -> ServerPruning {
    let why = "it is lost: nothing is heard of it".to_owned();
    ServerPruning { name: server.name.clone(), pruning: None, unreachable: Some(why) }
}

async fn on_server(shared: &Shared, server: &Server, deed: Deed) -> ServerPruning {
    let asked = async {
        let agent: AgentClient = shared.agent(server).map_err(|error| error_chain(&error))?;
        let answer = match deed {
            Deed::Look => agent.prunable().await,
            Deed::Remove => agent.prune().await,
        };
        answer.map_err(|error| error_chain(&error))
    };
    let name = server.name.clone();
    match asked.await {
        Ok(pruning) => ServerPruning { name, pruning: Some(pruning), unreachable: None },
        Err(why) => ServerPruning { name, pruning: None, unreachable: Some(why) },
    }
}

/// Removes what nothing needs in the store and on these servers, for something that has no room there. What can't be had is no
/// failure: whoever wants the room looks again.
pub(crate) async fn make_room(shared: &Shared, state: &State, on: &[ServerName]) {
    let lacking = state.world.servers.values().filter(|server| on.contains(&server.name));
    let asked = join_all(lacking.map(|server| on_server(shared, server, Deed::Remove)));
    let (servers, control) = tokio::join!(asked, store(shared, state, Deed::Remove));
    let answer = PruneAnswer { removed: true, servers, control: control.ok(), bytes: 0 };
    if let Err(error) = tell(shared, &answer, "a deploy that had no room").await {
        tracing::warn!(%error, "what was pruned is in no event");
    }
}

/// The control plane's own store.
async fn store(shared: &Shared, state: &State, deed: Deed) -> Result<Pruning, ErrorBody> {
    let needed = needed(state);
    let directory = shared.settings.artifact_dir.clone();
    let worked = tokio::task::spawn_blocking(move || {
        let artifacts = Artifacts::new(&directory);
        unneeded(&artifacts, &needed, SystemTime::now(), deed)
    });
    let failed = |text: String| {
        ErrorBody::new(ErrorCode::Internal, format!("the store of artifacts can't be looked through: {text}"))
    };
    let worked = worked.await.map_err(|error| failed(error.to_string()))?;
    worked.map_err(|error| failed(error.to_string()))
}

/// The artifacts of every kept release.
pub(crate) fn needed(state: &State) -> BTreeSet<Digest> {
    let releases = state.world.apps.values().flat_map(|app| app.releases.values());
    releases.filter_map(|release| release.artifact.clone()).collect()
}

fn unneeded(
    artifacts: &Artifacts<'_>,
    needed: &BTreeSet<Digest>,
    now: SystemTime,
    deed: Deed,
) -> io::Result<Pruning> {
    let found = artifacts.unneeded(needed)?;
    let busy = found.iter().any(|file| file.idle(now) < QUIET_FOR);
    let after = if busy { UNUSED_FOR } else { QUIET_FOR };
    let (mut things, mut trouble) = (Vec::new(), Vec::new());
    for file in found.into_iter().filter(|file| file.idle(now) >= after) {
        let removed = if deed == Deed::Look { Ok(true) } else { file.remove(after, now) };
        match removed {
            Ok(true) => things.push(PruneThing {
                kind: PruneKind::Packed,
                name: file.name(),
                bytes: file.bytes,
                why: "no kept release needs it, and nobody used it of late".to_owned(),
            }),
            Ok(false) => {}
            Err(error) => trouble.push(format!("{}: {error}", file.name())),
        }
    }
    Ok(Pruning::of(things, trouble))
}

/// Puts among the events that somebody had things removed.
pub(crate) async fn tell(shared: &Shared, answer: &PruneAnswer, who: &str) -> Result<(), StoreError> {
    let of = |pruning: &Pruning, name: &str| {
        (pruning.count > 0).then(|| format!("{} of {name}", Bytes(pruning.bytes)))
    };
    let servers =
        answer.servers.iter().filter_map(|server| of(server.pruning.as_ref()?, server.name.as_str()));
    let control = answer.control.as_ref().and_then(|pruning| of(pruning, "the control plane's store"));
    let parts: Vec<String> = servers.chain(control).collect();
    if parts.is_empty() {
        return Ok(());
    }
    put(
        shared,
        vec![Draft::new(format!("what nothing needed was removed, says {who}: {}", parts.join(", ")))],
    )
    .await
}

/// Puts what a server did by itself among the events.
pub(crate) async fn tell_news(shared: &Shared, server: &Server, news: &[String]) -> Result<(), StoreError> {
    put(
        shared,
        news.iter().take(MAX_NEWS).map(|text| Draft::new(format!("{}: {text}", server.name))).collect(),
    )
    .await
}

async fn put(shared: &Shared, drafts: Vec<Draft>) -> Result<(), StoreError> {
    let ops = events::put_ops(drafts, shared.now(), &mut shared.entropy()?)?;
    shared.store.txn(Txn::new().ops(ops)).await.map(|_| ())
}

#[cfg(test)]
mod tests;
