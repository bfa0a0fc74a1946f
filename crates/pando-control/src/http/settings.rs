//! The cluster's settings: read, tried out and changed.

use std::sync::Arc;

use axum::extract::State as Held;
use axum::{Extension, Json};
use pando_api::v1::cluster::{ClusterSettings, SettingsChange, SettingsChanged};
use pando_api::{ErrorBody, ErrorCode};
use pando_model::desired::Settings;
use pando_plan::Input;

use super::balancers;
use super::connection::Peer;
use super::extract::Sent;
use super::reply::{Answer, Refused};
use crate::events::{self, Draft};
use crate::settings;
use crate::shared::Shared;
use crate::state::State;
use crate::store::{Key, Outcome, Txn};
use crate::tokens::Caller;

const TRIES: usize = 5;

/// The cluster's settings.
#[utoipa::path(get, operation_id = "settings", path = "/v1/settings", tag = "cluster", responses((status = 200, body = ClusterSettings)))]
pub(crate) async fn show(Held(shared): Held<Arc<Shared>>) -> Answer<ClusterSettings> {
    let state = State::load(&*shared.store).await?;
    Ok(Json(told(&state, &state.world.settings)))
}

fn told(state: &State, settings: &Settings) -> ClusterSettings {
    let revision = state.modified(&Key::cluster_settings()).unwrap_or(0);
    ClusterSettings { lockdown: settings.lockdown, firewall: settings.firewall.clone(), revision }
}

/// Changes settings, or says what a change would do. Servers follow by themselves.
#[utoipa::path(
    patch, operation_id = "change_settings", path = "/v1/settings", tag = "cluster", request_body = SettingsChange,
    responses(
        (status = 200, body = SettingsChanged), (status = 400, body = ErrorBody),
        (status = 409, description = "It would close what is in use, or the settings changed meanwhile.", body = ErrorBody)
    )
)]
pub(crate) async fn change(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
    Sent(change): Sent<SettingsChange>,
) -> Answer<SettingsChanged> {
    Ok(Json(apply(&shared, &caller, peer, &change).await?))
}

/// Makes the change if nothing speaks against it.
pub(crate) async fn apply(
    shared: &Shared,
    caller: &Caller,
    peer: Peer,
    change: &SettingsChange,
) -> Result<SettingsChanged, Refused> {
    let mut entropy = shared.entropy()?;
    for _ in 0..TRIES {
        let state = State::load(&*shared.store).await?;
        let before = &state.world.settings;
        let after = settings::after(before, change)?;
        let mut changed =
            SettingsChanged { settings: told(&state, &after), rules: rules(shared, &state, &after) };
        check_revision(change, changed.settings.revision)?;
        if !change.force {
            check(shared, &state, &after, peer)?;
        }
        if change.dry_run || after == *before {
            return Ok(changed);
        }
        let key = Key::cluster_settings();
        let text = format!("{}, says {}", settings::words(before, &after), caller.name);
        let event = events::put_ops([Draft::new(text)], shared.now(), &mut entropy)?;
        let txn = Txn::new().unchanged(&key, state.modified(&key)).put(&key, &after)?.ops(event);
        if let Outcome::Committed(revision) = shared.store.txn(txn).await? {
            changed.settings.revision = revision;
            return Ok(changed);
        }
    }
    Err(Refused::new(ErrorCode::Conflict, "the settings are being changed by many at once; try again"))
}

fn check_revision(change: &SettingsChange, revision: u64) -> Result<(), ErrorBody> {
    match change.if_revision {
        Some(expected) if expected != revision => {
            let error = ErrorBody::new(ErrorCode::Conflict, "the settings changed since they were looked at");
            Err(error.hint("look again, and decide anew"))
        }
        _ => Ok(()),
    }
}

fn check(shared: &Shared, state: &State, after: &Settings, peer: Peer) -> Result<(), Refused> {
    let before = &state.world.settings;
    if after.firewall != before.firewall
        && let Some(address) = peer.0
    {
        settings::check_reachable(&state.world, &after.firewall, address.ip())?;
    }
    if after.lockdown && !before.lockdown {
        settings::check_lockdown(&balancers::list_of(shared, state))?;
    }
    Ok(())
}

/// How every server's packet filter would change with these settings.
fn rules(shared: &Shared, state: &State, after: &Settings) -> Vec<pando_api::v1::cluster::RuleChanges> {
    let observed = Arc::clone(&shared.observed.borrow());
    let input = Input { desired: &state.world, observed: &observed, now: shared.now(), seed: 0 };
    let mut changed = state.world.clone();
    changed.settings = after.clone();
    settings::rule_changes(&input, &Input { desired: &changed, ..input })
}
