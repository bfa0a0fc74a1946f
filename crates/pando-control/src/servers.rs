//! What may be said of servers, and forgetting one.

use std::collections::{BTreeMap, BTreeSet};

use pando_api::v1::servers::{LabelsRequest, RolesRequest};
use pando_api::{ErrorBody, ErrorCode, Scope};
use pando_model::name::{RoleName, ServerName};
use pando_model::server::Server;
use pando_plan::World;

use crate::events::{self, Draft};
use crate::shared::Shared;
use crate::state::State;
use crate::store::{Key, Op, Outcome, Range, StoreError, Txn, keys};
use crate::tokens;

pub(crate) const MAX_ROLES: usize = 32;
const MAX_LABELS: usize = 64;
/// Of a label's name, and of its value, in bytes.
const MAX_LABEL: usize = 63;

/// The server of this name.
///
/// # Errors
/// `not_found`, with the names that there are.
pub fn find<'a>(world: &'a World, name: &ServerName) -> Result<&'a Server, ErrorBody> {
    world.servers.values().find(|server| server.name == *name).ok_or_else(|| {
        let mut names: Vec<&str> = world.servers.values().map(|server| server.name.as_str()).collect();
        names.sort_unstable();
        let error = ErrorBody::new(ErrorCode::NotFound, format!("there is no server `{name}`"));
        error.hint(format!("there are: {}", names.join(", ")))
    })
}

/// # Errors
/// It runs the control plane, which has nowhere else to be.
pub fn check_removable(server: &Server) -> Result<(), ErrorBody> {
    if is_control(server) {
        let text = format!("{} runs the control plane; without it there is no cluster", server.name);
        return Err(ErrorBody::new(ErrorCode::Harmful, text));
    }
    Ok(())
}

fn is_control(server: &Server) -> bool {
    server.roles.iter().any(|role| role.as_str() == "control")
}

/// The roles that a server has after the request.
///
/// # Errors
/// Words that contradict each other, or that no request can make true.
pub fn roles_after(server: &Server, request: &RolesRequest) -> Result<BTreeSet<RoleName>, ErrorBody> {
    let invalid = |text: String| Err(ErrorBody::new(ErrorCode::Invalid, text));
    if request.add.is_empty() && request.remove.is_empty() {
        return invalid("no role was named".to_owned());
    }
    if let Some(role) = request.add.intersection(&request.remove).next() {
        return invalid(format!("`{role}` is both to be given and to be taken"));
    }
    let moves_control = |role: &RoleName| role.as_str() == "control";
    if request.remove.iter().any(moves_control) && is_control(server) {
        let text = format!("{} runs the control plane; that role can't be taken from it", server.name);
        return Err(ErrorBody::new(ErrorCode::Harmful, text));
    }
    if request.add.iter().any(moves_control) && !is_control(server) {
        return invalid("the role `control` is where the cluster was made, and can't be given".to_owned());
    }
    let roles: BTreeSet<RoleName> = server.roles.union(&request.add).cloned().collect();
    let roles: BTreeSet<RoleName> = roles.difference(&request.remove).cloned().collect();
    if roles.len() > MAX_ROLES {
        return invalid(format!("{MAX_ROLES} roles are the most that a server has"));
    }
    Ok(roles)
}

/// `+worker -web`
#[must_use]
pub fn roles_words(request: &RolesRequest) -> String {
    let given = request.add.iter().map(|role| format!("+{role}"));
    let taken = request.remove.iter().map(|role| format!("-{role}"));
    let words: Vec<String> = given.chain(taken).collect();
    format!("the roles {} are wanted", words.join(" "))
}

/// # Errors
/// Names or values that no label has.
pub fn check_labels(request: &LabelsRequest) -> Result<(), ErrorBody> {
    let invalid = |text: String| Err(ErrorBody::new(ErrorCode::Invalid, text));
    if request.set.is_empty() && request.remove.is_empty() {
        return invalid("no label was named".to_owned());
    }
    if let Some(name) = request.remove.iter().find(|name| request.set.contains_key(*name)) {
        return invalid(format!("`{name}` is both to be set and to be removed"));
    }
    for (name, value) in &request.set {
        if name.is_empty() || !is_label(name) {
            return invalid(format!(
                "`{name}` is no name of a label: it has 1 to {MAX_LABEL} of a-z, A-Z, 0-9, `-_./`"
            ));
        }
        if !is_label(value) {
            return invalid(format!(
                "`{value}` is no value of a label: it has up to {MAX_LABEL} of a-z, A-Z, 0-9, `-_./`"
            ));
        }
    }
    Ok(())
}

fn is_label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    text.len() <= MAX_LABEL && text.bytes().all(plain)
}

/// The labels that a server has after the request.
///
/// # Errors
/// More than a server has room for.
pub fn labels_after(server: &Server, request: &LabelsRequest) -> Result<BTreeMap<String, String>, ErrorBody> {
    let mut labels = server.labels.clone();
    labels.retain(|name, _| !request.remove.contains(name));
    labels.extend(request.set.clone());
    if labels.len() > MAX_LABELS {
        return Err(ErrorBody::new(
            ErrorCode::Invalid,
            format!("{MAX_LABELS} labels are the most that a server has"),
        ));
    }
    Ok(labels)
}

/// `zone=a disk-`
#[must_use]
pub fn labels_words(request: &LabelsRequest) -> String {
    let set = request.set.iter().map(|(name, value)| format!("{name}={value}"));
    let removed = request.remove.iter().map(|name| format!("{name}-"));
    let words: Vec<String> = set.chain(removed).collect();
    format!("the labels {} are wanted", words.join(" "))
}

/// Forgets a server as it was read: from then on it is none of the cluster's, and its tokens let nobody in.
///
/// # Errors
/// When the store fails.
pub async fn forget(
    shared: &Shared,
    state: &State,
    server: &Server,
    who: &str,
) -> Result<Outcome, StoreError> {
    let text = format!("{}: it was removed from the cluster at once, says {who}", server.name);
    let event = events::put_ops([Draft::new(text)], shared.now(), &mut shared.entropy()?)?;
    let key = Key::ServerSpec(server.id);
    let txn = Txn::new().unchanged(&key, state.modified(&key)).ops(forget_ops(shared, server).await?);
    shared.store.txn(txn.ops(event)).await
}

/// Everything that the store has of it alone. Instances that were recorded there are the planner's to end.
async fn forget_ops(shared: &Shared, server: &Server) -> Result<Vec<Op>, StoreError> {
    let own = format!("{}{}/", keys::SERVERS, server.id);
    let ports = format!("{}{}/", keys::PORTS, server.id);
    let reading = shared.store.read(vec![Range::prefix(own), Range::prefix(ports)]).await?;
    let held = reading.ranges.into_iter().flatten().map(|entry| entry.key);
    let speaks = Scope::Agent { server: server.id };
    let tokens = tokens::list(&*shared.store).await?.into_iter().filter(|token| token.scope == speaks);
    let tokens = tokens.map(|token| Key::Token(token.id).to_string());
    Ok(held.chain(tokens).map(|key| Op::Delete { key }).collect())
}
