//! What a replica is told.

use std::collections::BTreeMap;

use pando_model::app::{AppSpec, EnvValue, ProcessSpec};
use pando_model::desired::Instance;
use pando_model::id::InstanceId;
use pando_model::release::ReleaseNumber;
use pando_model::server::Server;

/// The complete environment of an instance. Pando's own names win over the file's.
pub(crate) fn of_instance(
    spec: &AppSpec,
    process: &ProcessSpec,
    id: InstanceId,
    instance: &Instance,
    server: Option<&Server>,
) -> BTreeMap<String, String> {
    let mut env = of_app(spec, instance.target.release);
    add(&mut env, &process.env);
    let own = [
        ("PORT", instance.port.to_string()),
        ("PANDO_PROCESS", instance.replica.process.to_string()),
        ("PANDO_REPLICA", instance.replica.to_string()),
        ("PANDO_INSTANCE", id.to_string()),
    ];
    env.extend(own.map(|(name, value)| (name.to_owned(), value)));
    if let Some(server) = server {
        let roles: Vec<&str> = server.roles.iter().map(AsRef::as_ref).collect();
        env.insert("PANDO_SERVER".to_owned(), server.name.to_string());
        env.insert("PANDO_ROLES".to_owned(), roles.join(","));
    }
    env
}

/// What every command of a release is told: `prepare`, the release command, one-offs and replicas.
pub(crate) fn of_app(spec: &AppSpec, release: ReleaseNumber) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    add(&mut env, &spec.env);
    env.insert("PANDO_APP".to_owned(), spec.name.to_string());
    env.insert("PANDO_RELEASE".to_owned(), release.to_string());
    env
}

/// Secrets and services are refused at the door until the cluster keeps them; see [`crate::admit`].
fn add(env: &mut BTreeMap<String, String>, values: &BTreeMap<String, EnvValue>) {
    for (name, value) in values {
        if let EnvValue::Value(text) = value {
            env.insert(name.clone(), text.clone());
        }
    }
}
