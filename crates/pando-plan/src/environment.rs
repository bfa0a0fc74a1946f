//! What a replica is told.
//!
//! It is told once, when it is assigned: what it was told stands in the published
//! assignment of its server and stays as it is for its life. When the address of
//! a service has changed since, the replica is replaced, by [`is_outdated`]; a
//! role that its server was given or lost meanwhile is no reason to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pando_model::app::{AppSpec, EnvValue, ProcessSpec, ServiceSpec};
use pando_model::assignment::AssignedInstance;
use pando_model::desired::Instance;
use pando_model::id::InstanceId;
use pando_model::name::ServiceName;
use pando_model::release::ReleaseNumber;
use pando_model::server::Server;

use crate::input::Input;
use crate::view::View;

/// The complete environment of an instance. Pando's own names win over the file's.
pub(crate) fn of_instance(
    view: &View<'_>,
    spec: &AppSpec,
    process: &ProcessSpec,
    (id, instance): (InstanceId, &Instance),
    server: &Server,
) -> BTreeMap<String, String> {
    let mut env = of_app(view, spec, instance.target.release);
    add(&mut env, view, spec, &process.env);
    // A container is reached at the port that was found for it, and listens on its own.
    let port = process.container_port.unwrap_or(instance.port);
    let own = [
        ("PORT", port.to_string()),
        ("PANDO_PROCESS", instance.replica.process.to_string()),
        ("PANDO_REPLICA", instance.replica.to_string()),
        ("PANDO_INSTANCE", id.to_string()),
    ];
    env.extend(own.map(|(name, value)| (name.to_owned(), value)));
    env.extend(of_server(server));
    env
}

/// The complete environment of a command that is run once, on that server: that of the release command.
#[must_use]
pub fn of_one_off(
    input: &Input<'_>,
    spec: &AppSpec,
    release: ReleaseNumber,
    server: &Server,
) -> BTreeMap<String, String> {
    let mut env = of_app(&View::new(input), spec, release);
    env.extend(of_server(server));
    env
}

fn of_server(server: &Server) -> [(String, String); 2] {
    let roles: Vec<&str> = server.roles.iter().map(AsRef::as_ref).collect();
    let own = [("PANDO_SERVER", server.name.to_string()), ("PANDO_ROLES", roles.join(","))];
    own.map(|(name, value)| (name.to_owned(), value))
}

/// What every command of a release is told: `prepare`, the release command, one-offs and replicas.
pub(crate) fn of_app(view: &View<'_>, spec: &AppSpec, release: ReleaseNumber) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    add(&mut env, view, spec, &spec.env);
    env.insert("PANDO_APP".to_owned(), spec.name.to_string());
    env.insert("PANDO_RELEASE".to_owned(), release.to_string());
    env
}

/// Secrets are refused at the door until the cluster keeps them; see [`crate::admit`].
fn add(
    env: &mut BTreeMap<String, String>,
    view: &View<'_>,
    spec: &AppSpec,
    values: &BTreeMap<String, EnvValue>,
) {
    for (name, value) in values {
        let text = match value {
            EnvValue::Value(text) => Some(text.clone()),
            EnvValue::Service(service) => location(view, spec, service),
            EnvValue::Secret(_) => None,
        };
        match text {
            Some(text) => drop(env.insert(name.clone(), text)),
            None => drop(env.remove(name)),
        }
    }
}

/// Where a service is, as the app is told. `None`: no server has its role.
fn location(view: &View<'_>, spec: &AppSpec, service: &ServiceName) -> Option<String> {
    let service = spec.services.get(service)?;
    view.address_of(&service.role).map(|address| written(service, address))
}

fn written(service: &ServiceSpec, address: IpAddr) -> String {
    let Some(url) = &service.url else { return address.to_string() };
    let host = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    url.replace("{host}", &host).replace("{port}", &service.port.to_string())
}

/// The variables of a process that tell where services are, with what they say now.
pub(crate) fn services<'a>(
    view: &View<'_>,
    spec: &'a AppSpec,
    process: &'a ProcessSpec,
) -> Vec<(&'a str, String)> {
    let of_app = spec.env.iter().filter(|(name, _)| !process.env.contains_key(*name));
    let told = of_app.chain(&process.env).filter_map(|(name, value)| match value {
        EnvValue::Service(service) => Some((name.as_str(), location(view, spec, service)?)),
        EnvValue::Value(_) | EnvValue::Secret(_) => None,
    });
    told.collect()
}

/// An instance was told where a service is, and it is elsewhere now.
pub(crate) fn is_outdated(told: &AssignedInstance, services: &[(&str, String)]) -> bool {
    services.iter().any(|(name, now)| told.env.get(*name).is_none_or(|then| then != now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_by_its_url_or_its_address() {
        let plain = ServiceSpec {
            kind: "redis".to_owned(),
            role: pando_model::RoleName::new("cache").unwrap(),
            port: 6379,
            url: None,
        };
        let url = Some("redis://{host}:{port}/1".to_owned());
        let with_url = ServiceSpec { url, ..plain.clone() };
        let (four, six) = ("10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap());
        assert_eq!(written(&plain, six), "fd00::7");
        assert_eq!(written(&with_url, four), "redis://10.0.0.7:6379/1");
        assert_eq!(written(&with_url, six), "redis://[fd00::7]:6379/1");
    }
}
