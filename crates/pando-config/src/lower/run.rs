//! What the replicas run: a directory or an image; the volumes of containers; and where assets lie in either.

use std::path::PathBuf;

use pando_model::app::{PullPolicy, RunSource, VolumeSpec};
use pando_model::asset::AssetPath;

use super::Surroundings;
use crate::diagnostic::{Sink, quoted};
use crate::load::Build;
use crate::raw::{self, Settings};
use crate::value::ServerAddress;

/// `None` when it is missing or wrong, which is reported.
pub(super) fn run_source(
    settings: &Settings,
    around: &Surroundings<'_>,
    sink: &mut Sink,
) -> Option<RunSource> {
    if let Some(source) = settings.source.get() {
        check_directory(settings, around, sink);
        return Some(RunSource::Directory { path: source.value.0.clone() });
    }
    if let Some(prepare) = settings.prepare.key() {
        let hint = "it prepares a `source`; an image is prepared by its Dockerfile";
        sink.error_hint(prepare, "`prepare` means nothing without `source`", hint);
    }
    if let Some(image) = settings.image.get() {
        return image_source(&image.value.0, sink);
    }
    if !settings.build.is_absent() {
        check_dockerfile(settings, around, sink);
        // The reference of what is built here is known only after building; until then, this stands for it.
        let name = settings.name.value()?;
        return Some(RunSource::Image { reference: format!("{name}:build"), pull_policy: PullPolicy::Never });
    }
    let absent = settings.source.is_absent() && settings.image.is_absent();
    if let Some(name) = settings.name.key().filter(|_| absent) {
        let hint = "give one of `source: .` (this directory), `image: …` and `build: …`";
        sink.error_hint(name, "the file does not say what to run", hint);
    }
    None
}

/// Where `source` is, seen from where the file's path was given.
pub(super) fn source_dir(settings: &Settings, around: &Surroundings<'_>) -> Option<PathBuf> {
    let source = settings.source.value()?;
    Some(around.directory.join(&source.0))
}

/// What to build, when the file says so.
pub(super) fn build(settings: &Settings, around: &Surroundings<'_>) -> Option<Build> {
    let build = settings.build.value()?;
    let context = build.context.value().map_or(".", |context| context.0.as_str());
    let context = around.directory.join(context);
    let dockerfile = context.join(build.dockerfile.value().map_or("Dockerfile", |path| path.0.as_str()));
    let args = build.args.value().map(|args| args.entries.as_slice()).unwrap_or_default();
    let args = args.iter().map(|(name, value)| (name.value.0.clone(), value.value.0.clone())).collect();
    let target = build.target.value().map(|target| target.0.clone());
    Some(Build { context, dockerfile, args, target })
}

/// What is built has its instructions in a file of this machine.
fn check_dockerfile(settings: &Settings, around: &Surroundings<'_>, sink: &mut Sink) {
    let (Some(given), Some(build)) = (settings.build.get(), build(settings, around)) else { return };
    if !around.is_dir(&build.context) {
        let (span, context) = match given.value.context.get() {
            Some(context) => (context.span, context.value.0.as_str()),
            None => (given.key, "."),
        };
        let reason = format!("there is no directory {} to build", quoted(context));
        sink.error_hint(span, reason, "it is relative to the directory that this file is in");
        return;
    }
    let Err(error) = around.read_at(&build.dockerfile) else { return };
    let (span, name) = match given.value.dockerfile.get() {
        Some(dockerfile) => (dockerfile.span, dockerfile.value.0.as_str()),
        None => (given.key, "Dockerfile"),
    };
    let (reason, hint) = match error.kind() {
        std::io::ErrorKind::NotFound => (
            format!("there is no file {} in the directory that is built", quoted(name)),
            "write one, or say which it is: `build: {dockerfile: docker/Dockerfile}`; it is relative to `context`",
        ),
        _ => (
            format!("the file {} can't be read: {error}", quoted(name)),
            "let it be a file that you may read",
        ),
    };
    sink.error_hint(span, reason, hint);
}

fn check_directory(settings: &Settings, around: &Surroundings<'_>, sink: &mut Sink) {
    let (Some(source), Some(path)) = (settings.source.get(), source_dir(settings, around)) else { return };
    if !around.is_dir(&path) {
        let reason = format!("there is no directory {}", quoted(&source.value.0));
        sink.error_hint(source.span, reason, "it is relative to the directory that this file is in");
    }
}

fn image_source(image: &raw::Image, sink: &mut Sink) -> Option<RunSource> {
    let repository = image.repository.get()?;
    let mut reference = repository.value.0.clone();
    match image.tag.get() {
        Some(tag) if repository.value.has_tag_or_digest() => {
            sink.error(tag.key, "the repository has a tag already");
        }
        Some(tag) => reference = format!("{reference}:{}", tag.value.0),
        None if repository.value.has_tag_or_digest() => {}
        None => reference.push_str(":latest"),
    }
    if let Some(server) = image.registry.value().and_then(|registry| registry.0.server.value()) {
        reference = with_registry(reference, server);
    }
    Some(RunSource::Image { reference, pull_policy: pull_policy(image) })
}

fn with_registry(reference: String, ServerAddress(server): &ServerAddress) -> String {
    let there = reference.strip_prefix(server.as_str()).is_some_and(|rest| rest.starts_with('/'));
    if there { reference } else { format!("{server}/{reference}") }
}

fn pull_policy(image: &raw::Image) -> PullPolicy {
    match image.pull_policy.value() {
        Some(raw::PullPolicy::Always) | None => PullPolicy::Always,
        Some(raw::PullPolicy::IfMissing) => PullPolicy::IfMissing,
        Some(raw::PullPolicy::Never) => PullPolicy::Never,
    }
}

pub(super) fn volumes(settings: &Settings, sink: &mut Sink) -> Vec<VolumeSpec> {
    let mut volumes: Vec<VolumeSpec> = Vec::new();
    for volume in settings.volumes.value().map(|list| list.0.as_slice()).unwrap_or_default() {
        if volumes.iter().any(|given| given.target == volume.value.0.target) {
            sink.error(
                volume.span,
                format!("another volume is mounted at {} already", quoted(&volume.value.0.target)),
            );
        }
        volumes.push(volume.value.0.clone());
    }
    volumes
}

/// As the file says it, which has to fit what is run.
pub(super) fn asset_path(settings: &Settings, volumes: &[VolumeSpec], sink: &mut Sink) -> Option<AssetPath> {
    let given = settings.asset_path.get()?;
    let (path, plain) = (&given.value.0, !settings.source.is_absent());
    let shown = quoted(path.as_str());
    if plain && path.is_absolute() {
        let reason = format!("{shown} is absolute, and this app is a directory");
        sink.error_hint(given.span, reason, "write it relative to `source`, such as `public/assets`");
    } else if !plain && !path.is_absolute() {
        let reason = format!("{shown} is relative, and this app is an image");
        sink.error_hint(given.span, reason, "write it as it is in the image, such as `/app/public/assets`");
    } else if let Some(volume) = volumes.iter().find(|volume| !plain && path.overlaps(&volume.target)) {
        let reason = format!("{shown} and the volume at {} are in each other's way", quoted(&volume.target));
        sink.error(given.span, reason);
    }
    Some(path.clone())
}
