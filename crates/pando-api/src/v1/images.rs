//! Images, sent layer by layer.
//!
//! `POST /v1/apps/APP/image` tells which servers would run an image and what of it
//! the cluster lacks, and refuses what would not fit or run. `PUT
//! /v1/layers/DIFF_ID?from=N` takes a layer, packed, from byte N of its tar on; `GET`
//! tells how far it came. `PUT /v1/images/DIGEST` takes the description that a release
//! names as its artifact. Agents fetch both as they fetch every artifact.

use std::collections::BTreeMap;

use pando_model::app::AppSpec;
use pando_model::image::{Layer, Platform};
use pando_model::name::ServerName;
use pando_model::release::Digest;
use serde::{Deserialize, Serialize};

/// What somebody is about to deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageQuery {
    pub spec: Box<AppSpec>,
    /// `None`: it has to be built first, and only the servers are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<LocalImage>,
}

/// An image as an engine tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LocalImage {
    /// The SHA-256 of its configuration, or what else the engine calls it by.
    pub id: Digest,
    pub platform: Platform,
    /// The digests of its layers' tars, the lowest first; at most 256.
    pub layers: Vec<Digest>,
    /// Of all layers, unpacked.
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageAnswer {
    /// Those that would run it, by name.
    pub servers: Vec<ImageServer>,
    /// The description, when the cluster has all of the image: nothing is to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Digest>,
    /// Each layer that was asked for.
    #[schema(value_type = BTreeMap<String, LayerState>)]
    pub layers: BTreeMap<Digest, LayerState>,
}

/// A server that would run it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageServer {
    pub name: ServerName,
    /// What is native there. `None`: the server did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Why it could not run an image as things are, such as that no engine answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// How much of a layer the control plane has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LayerState {
    /// All of it. It is kept for a day from now, needed or not.
    Here(Layer),
    /// So many bytes of its tar came and are kept for a day; 0 when none did.
    Part { bytes: u64 },
}

/// `PUT /v1/layers/DIFF_ID?from=…`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LayerQuery {
    /// Where in the tar the first frame begins: as much as [`LayerState::Part`] tells.
    #[serde(default)]
    pub from: u64,
}

/// The answer to a description that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageStored {
    pub digest: Digest,
    /// Of all layers, unpacked.
    pub bytes: u64,
}

/// What an agent tells of its machine (`GET /v1/host`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    pub platform: Platform,
    /// Where packed layers lie.
    pub state: DiskSpace,
    /// Where the engine unpacks them; `None`: on the same disk, or it can't be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<DiskSpace>,
    /// Why the engine can't be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSpace {
    pub path: String,
    pub free_bytes: u64,
    pub total_bytes: u64,
}
