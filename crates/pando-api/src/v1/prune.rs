//! What nothing needs any more, on servers and in the control plane's store.
//!
//! `GET /v1/prune` tells what can go and why, `POST /v1/prune` removes what can go then and tells what went. Agents have the same
//! two under the same path, each for its own server.

use pando_model::name::ServerName;
use serde::{Deserialize, Serialize};

/// So many things are told one by one, the largest; the sums are of all.
pub const MOST_TOLD: usize = 200;

/// `?server=NAME`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PruneQuery {
    /// This server alone, and not the control plane's store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerName>,
}

/// What can go, or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PruneAnswer {
    /// It was removed. False: it was only looked at.
    pub removed: bool,
    /// By name.
    pub servers: Vec<ServerPruning>,
    /// The control plane's own store, unless one server was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Pruning>,
    /// Of all of these together.
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerPruning {
    pub name: ServerName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruning: Option<Pruning>,
    /// Why the server could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
}

/// Of one place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Pruning {
    /// The largest first; at most 200.
    pub things: Vec<PruneThing>,
    /// How many there are in all.
    pub count: u64,
    /// What all of them take, or took, on the disk. What two of them share is counted once.
    pub bytes: u64,
    /// What could not be looked at or removed, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trouble: Vec<String>,
    /// Volumes of apps of which the place keeps no release. They hold data, and are never removed by Pando.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeLeft>,
}

/// A volume that stays until a person removes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VolumeLeft {
    /// As the container engine calls it.
    pub name: String,
    pub app: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PruneThing {
    pub kind: PruneKind,
    pub name: String,
    /// What goes with it and with nothing larger in the list.
    pub bytes: u64,
    /// Why nothing needs it.
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PruneKind {
    /// A packed release, a packed layer or the description of an image, whole or in part.
    Packed,
    /// The directory of a release.
    Release,
    /// An image of the container engine, or a name of one.
    Image,
    /// A container that has ended.
    Container,
}

impl PruneKind {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Packed => "packed",
            Self::Release => "release",
            Self::Image => "image",
            Self::Container => "container",
        }
    }
}

impl Pruning {
    /// Of these things, in any order.
    #[must_use]
    pub fn of(mut things: Vec<PruneThing>, trouble: Vec<String>) -> Self {
        things.sort_by(|one, other| (other.bytes, &one.name).cmp(&(one.bytes, &other.name)));
        let (count, bytes) = (things.len() as u64, things.iter().map(|thing| thing.bytes).sum());
        things.truncate(MOST_TOLD);
        Self { things, count, bytes, trouble, volumes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_things_are_summed_up_and_the_largest_are_told() {
        let thing = |number: u64| PruneThing {
            kind: PruneKind::Packed,
            name: number.to_string(),
            bytes: number,
            why: "no kept release needs it".to_owned(),
        };
        let pruning = Pruning::of((1..=10_000).map(thing).collect(), Vec::new());
        assert_eq!((pruning.count, pruning.bytes), (10_000, 50_005_000));
        assert_eq!((pruning.things.len(), pruning.things[0].bytes), (MOST_TOLD, 10_000));
        assert!(serde_json::to_string(&pruning).unwrap().len() < 64 * 1024);
    }
}
