//! The file as typed: every key that it may have, with its meaning and default.
//!
//! The doc comments here are the descriptions in the JSON Schema and in the
//! reference. Whether values fit together, and what they come to, is left to `lower`.

mod app;
pub(crate) mod balancing;
mod env;
pub(crate) mod filters;
mod operations;
mod placement;
mod process;
mod root;
pub(crate) mod route;

pub(crate) use app::{Domain, Hsts, Image, PullPolicy, Settings, Strategy};
pub(crate) use env::{EnvEntry, EnvList, From};
pub(crate) use operations::{Service, Url};
pub(crate) use process::{Health, HealthType, Process, Resources};
pub(crate) use root::Root;
pub(crate) use route::Route;
