//! How a server comes into the cluster: what a join token lets it do, decided over values alone.
//!
//! A token lets one key in. The server is made in the same transaction that uses
//! the token up; asked again with the same key, the answer is the same server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use pando_api::v1::join::{JOIN_WITHIN, JoinRequest, JoinTokenRequest};
use pando_api::v1::servers::LabelsRequest;
use pando_api::{ErrorBody, ErrorCode};
use pando_model::id::ServerId;
use pando_model::name::{RoleName, ServerName};
use pando_model::server::{Server, Standing};
use pando_model::time::{Millis, Timestamp};
use pando_plan::World;
use pando_trust::Fingerprint;
use serde::{Deserialize, Serialize};

use crate::servers::{MAX_ROLES, check_labels};

/// What a join token says of the server that comes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub roles: BTreeSet<RoleName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ServerName>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Who came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
}

/// The server that a token was used up for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    pub server: ServerId,
    /// Of the key that asked; see [`pando_trust::request_key`].
    pub key: Fingerprint,
}

/// What a request to join comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joining {
    /// It is to be made.
    New(Server),
    /// It was made already, for the same key.
    Again(Server),
}

/// The grant that a token is to carry, and how long it lasts.
///
/// # Errors
/// Words that no server can have, or a name that one has.
pub fn grant(request: &JoinTokenRequest, world: &World) -> Result<(Grant, Millis), ErrorBody> {
    let invalid = |text: String| Err(ErrorBody::new(ErrorCode::Invalid, text));
    let expires_in = request.expires_in.unwrap_or(JOIN_WITHIN);
    if expires_in.0 == 0 || expires_in > JOIN_WITHIN {
        return invalid(format!("a join token is good for {JOIN_WITHIN} at most, and for some time"));
    }
    if request.roles.len() > MAX_ROLES {
        return invalid(format!("{MAX_ROLES} roles are the most that a server has"));
    }
    if request.roles.iter().any(|role| role.as_str() == "control") {
        return invalid("the role `control` is where the cluster was made, and can't be given".to_owned());
    }
    let labels = LabelsRequest { set: request.labels.clone(), ..LabelsRequest::default() };
    if !labels.set.is_empty() {
        check_labels(&labels)?;
    }
    if let Some(name) = &request.name {
        check_name(world, name)?;
    }
    let JoinTokenRequest { roles, name, labels, .. } = request.clone();
    Ok((Grant { roles, name, labels, used: None }, expires_in))
}

/// `as web-2, with the roles web, worker`
#[must_use]
pub fn words(grant: &Grant) -> String {
    let roles: Vec<&str> = grant.roles.iter().map(RoleName::as_str).collect();
    let roles = match roles.as_slice() {
        [] => "without roles".to_owned(),
        [role] => format!("with the role {role}"),
        _ => format!("with the roles {}", roles.join(", ")),
    };
    grant.name.as_ref().map_or(roles.clone(), |name| format!("as {name}, {roles}"))
}

/// Whether the server may come in with a token, and as which server.
///
/// # Errors
/// The token was used up, or the server clashes with one that is there.
pub fn admit(
    grant: &Grant,
    request: &JoinRequest,
    key: Fingerprint,
    world: &World,
    new: (ServerId, Timestamp),
) -> Result<Joining, ErrorBody> {
    if let Some(used) = &grant.used {
        return again(used, key, world);
    }
    let name = grant.name.as_ref().unwrap_or(&request.name);
    check_name(world, name)?;
    check_addresses(world, request)?;
    let (id, joined_at) = new;
    Ok(Joining::New(Server {
        id,
        name: name.clone(),
        roles: grant.roles.clone(),
        private_address: request.private_address,
        public_address: request.public_address,
        agent_address: request.agent_address,
        capacity: request.capacity,
        labels: grant.labels.clone(),
        standing: Standing::Active,
        joined_at,
    }))
}

fn again(used: &Used, key: Fingerprint, world: &World) -> Result<Joining, ErrorBody> {
    let refused = |text: String| {
        let error = ErrorBody::new(ErrorCode::Forbidden, text);
        Err(error.hint("each server needs a token of its own: `pando cluster token` makes one"))
    };
    match world.servers.get(&used.server) {
        Some(server) if used.key == key => Ok(Joining::Again(server.clone())),
        Some(server) => refused(format!("the join token was used already, by {}", server.name)),
        None => {
            refused("the join token was used already, by a server that was removed since then".to_owned())
        }
    }
}

fn check_name(world: &World, name: &ServerName) -> Result<(), ErrorBody> {
    let taken = world.servers.values().find(|server| server.name == *name);
    taken.map_or(Ok(()), |server| {
        let text = format!("there is a server `{name}` already, at {}", server.private_address);
        let hint = format!("choose another name; or remove that one first: `pando server rm {name}`");
        Err(ErrorBody::new(ErrorCode::Conflict, text).hint(hint))
    })
}

fn check_addresses(world: &World, request: &JoinRequest) -> Result<(), ErrorBody> {
    let one_machine = world.settings.one_machine;
    let agent = request.agent_address;
    for address in [request.private_address, agent.ip()].into_iter().chain(request.public_address) {
        check_address(address, one_machine)?;
    }
    if agent.port() == 0 {
        return Err(ErrorBody::new(ErrorCode::Invalid, "the agent's API has no port"));
    }
    let clashes = |server: &&Server| {
        server.agent_address == agent || (!one_machine && server.private_address == request.private_address)
    };
    world.servers.values().find(clashes).map_or(Ok(()), |server| {
        let address = if server.agent_address == agent {
            agent.to_string()
        } else {
            server.private_address.to_string()
        };
        let text = format!("{address} is the address of `{}` already", server.name);
        let hint = format!(
            "if this is that server, set up anew: `pando server rm {} --force` forgets it, then join again",
            server.name
        );
        Err(ErrorBody::new(ErrorCode::Conflict, text).hint(hint))
    })
}

/// Others must be able to reach it.
fn check_address(address: IpAddr, one_machine: bool) -> Result<(), ErrorBody> {
    let nowhere = address.is_unspecified() || address.is_multicast();
    if nowhere || (address.is_loopback() && !one_machine) {
        let text = format!("{address} is no address at which other servers could reach this one");
        return Err(ErrorBody::new(ErrorCode::Invalid, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
