//! How Pando's containers are known from all others on an engine: by labels, and by names that nobody else chooses.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use uuid::Uuid;

use crate::run::{RunKey, RunSpec};

/// Whose a container is: the state directory's own id, so that two daemons on a machine leave each other's alone.
pub(super) const OWNER: &str = "pando.owner";
pub(super) const RUN: &str = "pando.run";
/// Instead of [`RUN`]: a command beside replicas that lives as long as who asked for it.
pub(super) const COMMAND: &str = "pando.command";
pub(super) const APP: &str = "pando.app";
const NAME: &str = "pando.name";
/// Whose a volume is: the cluster's. A server that joins anew has another state directory and the same data, and several servers of
/// one cluster may share an engine.
pub(super) const CLUSTER: &str = "pando.cluster";
const VOLUME: &str = "pando.volume";

/// By which what is made is known again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whose<'a> {
    /// See [`OWNER`].
    pub(super) owner: &'a str,
    /// See [`CLUSTER`].
    pub(super) cluster: &'a str,
}

/// The id of the state directory, made when there is none. It says whose containers are, so it is on disk before the first.
pub(super) fn owner(runs: &Path) -> io::Result<String> {
    let path = runs.join("owner");
    let known = pando_rt::fs::read_if_there(&path)?.unwrap_or_default();
    let known = String::from_utf8_lossy(&known).trim().parse::<Uuid>();
    if let Ok(id) = known {
        return Ok(id.to_string());
    }
    let id = Uuid::now_v7().to_string();
    pando_rt::fs::write_atomically(&path, id.as_bytes(), 0o600)?;
    Ok(id)
}

/// `pando-APP-web-2-1f3c5a7b9d0e.0`: for people to read, and never given twice.
pub(super) fn container(spec: &RunSpec) -> String {
    let id = spec.key.id.simple().to_string();
    format!("pando-{}-{}-{}.{}", spec.app, spec.name, &id[20..], spec.key.attempt)
}

/// An app's volume of that name, whoever mounts it. Names of apps hold no dots.
pub(super) fn volume(app: &str, name: &str) -> String {
    format!("pando.{app}.{name}")
}

pub(super) fn volume_labels(cluster: &str, app: &str, name: &str) -> HashMap<String, String> {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    HashMap::from([label(CLUSTER, cluster), label(APP, app), label(VOLUME, name)])
}

pub(super) fn run(key: RunKey) -> String {
    format!("{}.{}", key.id, key.attempt)
}

pub(super) fn labels(owner: &str, spec: &RunSpec) -> HashMap<String, String> {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    HashMap::from([
        label(OWNER, owner),
        label(RUN, &run(spec.key)),
        label(APP, spec.app.as_str()),
        label(NAME, &spec.name),
    ])
}

/// Which run of `owner` the labels name. `None`: none.
pub(super) fn run_of(labels: Option<&HashMap<String, String>>, owner: &str) -> Option<RunKey> {
    let labels = labels.filter(|labels| labels.get(OWNER).is_some_and(|of| of == owner))?;
    let (id, attempt) = labels.get(RUN)?.split_once('.')?;
    Some(RunKey { id: id.parse().ok()?, attempt: attempt.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{ImagePlace, Place};

    #[test]
    fn a_container_is_known_by_its_labels_and_no_other_is() {
        let key = RunKey { id: Uuid::now_v7(), attempt: 3 };
        let spec = RunSpec {
            key,
            app: "shop".parse().unwrap(),
            name: "web-2".to_owned(),
            command: String::new(),
            place: Place::Image(Box::new(ImagePlace::of("shop:1"))),
            env: Default::default(),
            user: None,
            resources: Default::default(),
            port: None,
        };
        let ours = labels("me", &spec);
        assert_eq!(run_of(Some(&ours), "me"), Some(key));
        assert_eq!(run_of(Some(&ours), "somebody else"), None);
        assert_eq!(run_of(Some(&HashMap::new()), "me"), None);
        assert_eq!(run_of(None, "me"), None);
        let name = container(&spec);
        assert!(name.starts_with("pando-shop-web-2-") && name.ends_with(".3") && name.len() == 31, "{name}");
    }

    #[test]
    fn a_state_directory_keeps_its_id() {
        let root = tempfile::tempdir().unwrap();
        let first = owner(root.path()).unwrap();
        assert_eq!(owner(root.path()).unwrap(), first);
        std::fs::write(root.path().join("owner"), "").unwrap();
        assert_ne!(owner(root.path()).unwrap(), first);
    }
}
