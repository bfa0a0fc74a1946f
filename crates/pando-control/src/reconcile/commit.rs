//! A plan as one transaction, and as a change of the world that it was made for.

use pando_api::v1::events::EventLevel;
use pando_model::desired::{Deployment, PortKey};
use pando_model::id::{DeploymentId, Entropy, ServerId};
use pando_model::name::AppName;
use pando_model::time::Timestamp;
use pando_plan::{Action, Note, Plan, Severity};
use pando_routing::Table;

use crate::events::{self, Draft};
use crate::state::{PublishedTable, State};
use crate::store::{Key, Revision, StoreError, Txn};

/// Deployments that ended are kept to look at, so many an app.
const KEPT_DEPLOYMENTS: usize = 50;

/// All actions of the plan, to be done together or not at all: each key must still be as it was read.
///
/// # Errors
/// When a value has no form in JSON.
pub fn transaction(
    loaded: &State,
    plan: &Plan,
    drafts: Vec<Draft>,
    now: Timestamp,
    entropy: &mut Entropy,
) -> Result<Txn, StoreError> {
    let mut txn = Txn::new().unchanged(Key::Epoch, loaded.modified(&Key::Epoch));
    for action in &plan.actions {
        txn = match action {
            Action::ForgetServer(server) => forget(txn, loaded, *server),
            _ => add(txn, loaded, action, now)?,
        };
    }
    for (app, deployment) in old_deployments(loaded) {
        txn = txn.delete(Key::AppDeployment(app, deployment));
    }
    Ok(txn.ops(events::put_ops(drafts, now, entropy)?))
}

fn add(txn: Txn, loaded: &State, action: &Action, now: Timestamp) -> Result<Txn, StoreError> {
    let key = key_of(action);
    let txn = txn.unchanged(&key, loaded.modified(&key));
    match action {
        Action::RecordAssigned { assigned, .. } => txn.put(key, assigned),
        Action::RecordDeployment(deployment) => txn.put(key, deployment),
        Action::RecordPort { lease: Some(lease), .. } => txn.put(key, lease),
        Action::Publish(table) => {
            let secrets = loaded.world.secrets.clone();
            txn.put(key, &PublishedTable { table: kept(table), published_at: now, secrets })
        }
        Action::Assign(assignment) => txn.put(key, assignment),
        Action::RecordPort { lease: None, .. } | Action::ForgetRelease { .. } | Action::ForgetServer(_) => {
            Ok(txn.delete(key))
        }
    }
}

/// Everything that is kept of a server, if nobody has changed their mind about it meanwhile.
fn forget(txn: Txn, loaded: &State, server: ServerId) -> Txn {
    let guarded = Key::ServerSpec(server);
    let txn = txn.unchanged(&guarded, loaded.modified(&guarded));
    keys_of(loaded, server).into_iter().fold(txn, Txn::delete)
}

fn keys_of(loaded: &State, server: ServerId) -> Vec<Key> {
    let first = PortKey { server, port: 0 };
    let ports = loaded.world.ports.range(first..).take_while(|(key, _)| key.server == server);
    let own = [
        Key::ServerSpec(server),
        Key::ServerAssignment(server),
        Key::ServerObserved(server),
        Key::AgentAlive(server),
    ];
    own.into_iter().chain(ports.map(|(key, _)| Key::Port(*key))).collect()
}

fn key_of(action: &Action) -> Key {
    match action {
        Action::RecordAssigned { app, .. } => Key::AppAssigned(app.clone()),
        Action::RecordDeployment(deployment) => Key::AppDeployment(deployment.app.clone(), deployment.id),
        Action::RecordPort { key, .. } => Key::Port(*key),
        Action::ForgetRelease { app, release } => Key::AppRelease(app.clone(), *release),
        Action::Publish(_) => Key::Table,
        Action::Assign(assignment) => Key::ServerAssignment(assignment.server),
        Action::ForgetServer(server) => Key::ServerSpec(*server),
    }
}

/// What the store holds after the plan was committed at `revision`.
pub fn apply(loaded: &mut State, plan: &Plan, revision: Revision, now: Timestamp) {
    loaded.revision = revision;
    for (app, deployment) in old_deployments(loaded) {
        loaded.written(&Key::AppDeployment(app.clone(), deployment), None);
        loaded.ended.entry(app).or_default().retain(|held| held.id != deployment);
    }
    for action in &plan.actions {
        if let Action::ForgetServer(server) = action {
            keys_of(loaded, *server).iter().for_each(|key| loaded.written(key, None));
        }
        let deletes = matches!(
            action,
            Action::RecordPort { lease: None, .. } | Action::ForgetRelease { .. } | Action::ForgetServer(_)
        );
        loaded.written(&key_of(action), (!deletes).then_some(revision));
        apply_one(loaded, action, now);
    }
}

fn apply_one(loaded: &mut State, action: &Action, now: Timestamp) {
    let world = &mut loaded.world;
    match action {
        Action::RecordAssigned { app, assigned } => {
            world.apps.entry(app.clone()).or_default().assigned = assigned.clone();
        }
        Action::RecordDeployment(deployment) => {
            let deployments = &mut world.apps.entry(deployment.app.clone()).or_default().deployments;
            if deployment.phase.has_ended() {
                deployments.retain(|held| held.id != deployment.id);
                loaded.ended.entry(deployment.app.clone()).or_default().push(deployment.clone());
            } else if let Some(held) = deployments.iter_mut().find(|held| held.id == deployment.id) {
                *held = deployment.clone();
            }
        }
        Action::RecordPort { key, lease } => {
            match lease {
                Some(lease) => world.ports.insert(*key, lease.clone()),
                None => world.ports.remove(key),
            };
        }
        Action::ForgetRelease { app, release } => {
            world.apps.entry(app.clone()).or_default().releases.remove(release);
        }
        Action::Publish(table) => world.take_table(table.clone(), now),
        Action::Assign(assignment) => {
            world.assignments.insert(assignment.server, assignment.clone());
        }
        Action::ForgetServer(server) => {
            world.servers.remove(server);
            world.assignments.remove(server);
            world.ports.retain(|key, _| key.server != *server);
        }
    }
}

/// Those that are kept no longer.
fn old_deployments(loaded: &State) -> Vec<(AppName, DeploymentId)> {
    let of_app = |(app, ended): (&AppName, &Vec<Deployment>)| {
        let old = ended.len().saturating_sub(KEPT_DEPLOYMENTS);
        ended.iter().take(old).map(|deployment| (app.clone(), deployment.id)).collect::<Vec<_>>()
    };
    loaded.ended.iter().flat_map(of_app).collect()
}

/// A plan's note as an event to be.
pub fn draft(note: &Note) -> Draft {
    let level = match note.severity {
        Severity::Info => EventLevel::Info,
        Severity::Warning => EventLevel::Warning,
        Severity::Error => EventLevel::Error,
    };
    let deployment = note.deployment;
    Draft { level, app: note.app.clone(), deployment, text: note.text.clone() }
}

/// Of its secret part users alone are kept, as the specifications that they come from are; keys are kept sealed, elsewhere.
fn kept(table: &Table) -> Table {
    let mut kept = table.public();
    kept.secret.users.clone_from(&table.secret.users);
    kept
}
