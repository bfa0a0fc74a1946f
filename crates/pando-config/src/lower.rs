//! From the file as typed to the specification that the rest of Pando knows:
//! targets merged, defaults filled in, values checked against each other.
//!
//! What is right but can't be run by this version yet is told apart: a file
//! stays valid, and a deploy consults [`unsupported`](Lowered::unsupported).

mod authorities;
mod balancing;
mod counts;
mod domains;
mod env;
mod filters;
mod health;
mod normal;
mod placement;
mod process;
mod release;
mod routes;
mod run;
mod services;
mod surroundings;
mod unsupported;

use std::path::PathBuf;

use pando_model::AppSpec;
use pando_model::app::{KEEP_RELEASES, RunSource};

use crate::diagnostic::{Problems, Sink};
use crate::load::Build;
use crate::raw::Settings;

pub(crate) use normal::normalise;
pub(crate) use process::{Draft, MOST_PROCESSES};
pub(crate) use surroundings::Surroundings;
pub(crate) use unsupported::NOT_YET;

/// One target's specification, with what is to be said about it.
#[derive(Debug)]
pub(crate) struct Lowered {
    pub(crate) spec: AppSpec,
    pub(crate) source_dir: Option<PathBuf>,
    pub(crate) build: Option<Build>,
    pub(crate) unsupported: Problems,
}

/// `settings` with the target's keys over the root's, after [`normalise`]. `None`: `sink` has at least one error, of
/// here or of before.
pub(crate) fn lower(settings: &Settings, around: &Surroundings<'_>, sink: &mut Sink) -> Option<Lowered> {
    let run = run::run_source(settings, around, sink);
    let drafts = process::drafts(settings, around, sink);
    let routes = routes::routes(settings, &drafts, around, sink);
    let domains = domains::domains(settings, &drafts, around, sink);
    let plain = matches!(run, Some(RunSource::Directory { .. }));
    let processes = process::processes(settings, &drafts, plain, sink);
    let env = env::variables(&settings.env, settings, sink);
    let strategy = release::strategy(settings, sink);
    let volumes = run::volumes(settings, sink);
    let asset_path = run::asset_path(settings, &volumes, sink);
    release::check_schedules(settings, sink);
    let services = services::services(settings, sink);
    release::check_autoscale(settings, &drafts, sink);
    let pools = balancing::pools(settings, &drafts, around, sink);
    let name = settings.name.value()?.clone();
    if sink.has_errors() || processes.is_empty() {
        return None;
    }
    let spec = AppSpec {
        name,
        run: run?,
        prepare: settings.prepare.value().map(|command| command.0.clone()),
        release_command: release::command(settings, around, sink),
        strategy,
        min_ready: settings.min_ready_seconds.value().map(|length| length.0).unwrap_or_default(),
        keep_releases: settings.keep_releases.value().map_or(KEEP_RELEASES, |count| count.0),
        processes,
        domains,
        routes,
        balancing: pando_model::app::Algorithm::default(),
        pools,
        env,
        volumes,
        asset_path,
        services,
    };
    process::check_order(&spec, &drafts, sink);
    routes::check_with_table(&spec, settings, sink);
    let source_dir = run::source_dir(settings, around);
    let unsupported = unsupported::find(settings, sink.sibling());
    Some(Lowered { spec, source_dir, build: run::build(settings, around), unsupported })
}
