//! From a path to the specifications of its targets, or every problem at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pando_model::{AppName, AppSpec};

use crate::decode::{Decode, listed, nearest};
use crate::diagnostic::{Problems, Sink};
use crate::doctor;
use crate::files::Files;
use crate::lower::{self, Surroundings};
use crate::raw::{Root, Settings};
use crate::read::{self, Format};
use crate::source::SourceFile;

/// Each is a merge of the whole file; no team keeps apart as many.
const MOST_TARGETS: usize = 100;

/// A valid file.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub name: AppName,
    /// The file without any target's keys, which is what `pando dev` runs. `None` when only
    /// the targets are whole, each by keys of its own (say, its own `image`).
    pub base: Option<Target>,
    /// Those asked for, in the file's order. A file without `targets` has one, without a name: `base`.
    pub targets: Vec<Target>,
    /// Warnings only.
    pub warnings: Problems,
}

/// What one target runs.
#[derive(Debug, Clone)]
pub struct Target {
    /// `None` for the file without `targets`.
    pub name: Option<String>,
    /// The cluster by name. At most one of this and `server` is given.
    pub cluster: Option<String>,
    /// The cluster by its control server's address.
    pub server: Option<String>,
    pub spec: AppSpec,
    /// Where the directory of [`RunSource::Directory`](pando_model::app::RunSource) is, seen from where the file's path was given.
    pub source_dir: Option<PathBuf>,
    /// How the image is made that the specification runs; `None`: it is there already.
    pub build: Option<Build>,
    /// What this version does not do yet. Its errors forbid a deploy, but leave the file valid.
    pub unsupported: Problems,
    /// What would break on a second server: warnings, each with a remedy.
    pub advice: Problems,
}

/// An image to be built where the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// What the builder gets, seen from where the file's path was given.
    pub context: PathBuf,
    /// The instructions; likewise.
    pub dockerfile: PathBuf,
    pub args: BTreeMap<String, String>,
    /// The stage that is the image. `None`: the last one.
    pub target: Option<String>,
}

/// Reads, checks and lowers the file at `path`, and the Procfile beside it if it has no `processes`.
///
/// `target` chooses one of its targets; `None` means all.
///
/// # Errors
/// Every problem of the file, at least one of which is an error.
pub fn load(path: &Path, target: Option<&str>, files: &dyn Files) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let bytes = files.read(path).map_err(|error| unreadable(&name, &error))?;
    let source = read::text(&name, &bytes)?;
    let Some(format) = Format::of(path) else { return Err(unknown_format(&name)) };
    let mut sink = Sink::new(source);
    let loaded = load_tree(format, target, &Surroundings::of(path, files), &mut sink);
    let problems = sink.into_problems();
    match loaded {
        Some(loaded) if !problems.has_errors() => Ok(Loaded { warnings: problems, ..loaded }),
        _ => Err(problems),
    }
}

fn load_tree(
    format: Format,
    target: Option<&str>,
    around: &Surroundings<'_>,
    sink: &mut Sink,
) -> Option<Loaded> {
    let node = read::tree(format, sink)?;
    let mut root = Root::decode(&node, sink)?;
    lower::normalise(&mut root.settings, sink);
    check_choice(target, &root, sink);
    let overrides = overrides(&root, sink);
    let base = if overrides.is_empty() {
        lowered(None, &root.settings, around, sink)
    } else {
        // Not whole without a target is not wrong; what is wrong shows in every target.
        lowered(None, &root.settings, around, &mut sink.sibling())
    };
    let mut targets: Vec<Target> = base.iter().filter(|_| overrides.is_empty()).cloned().collect();
    for (name, over) in overrides {
        let chosen = target.is_none_or(|target| target == name);
        let merged = over.over(root.settings.clone());
        targets.extend(lowered(Some(name), &merged, around, sink).filter(|_| chosen));
    }
    let name = root.settings.name.value()?.clone();
    Some(Loaded { name, base, targets, warnings: Problems::default() })
}

/// What each target gives, after [`normalise`](lower::normalise).
fn overrides(root: &Root, sink: &mut Sink) -> Vec<(String, Settings)> {
    let mut overrides = Vec::new();
    for (name, at) in root.targets.value().cloned().unwrap_or_default().entries {
        if overrides.len() == MOST_TARGETS {
            sink.error(name.span, format!("there are more than {MOST_TARGETS} targets"));
            break;
        }
        let mut settings = at.value.0;
        lower::normalise(&mut settings, sink);
        overrides.push((name.value.0, settings));
    }
    overrides
}

fn lowered(
    name: Option<String>,
    settings: &Settings,
    around: &Surroundings<'_>,
    sink: &mut Sink,
) -> Option<Target> {
    // A problem elsewhere in the file must not hide those here: each target starts with a clean slate.
    let mut own = sink.sibling();
    let lowered = lower::lower(settings, around, &mut own);
    let clean = !own.has_errors();
    sink.absorb(own.into_list());
    let lowered = lowered.filter(|_| clean)?;
    let dockerfile = lowered.build.as_ref().and_then(|build| around.read_at(&build.dockerfile).ok());
    let dockerfile = dockerfile.and_then(|bytes| String::from_utf8(bytes).ok());
    let advice = doctor::examine(settings, &lowered.spec, dockerfile.as_deref(), sink.sibling());
    Some(Target {
        name,
        cluster: settings.cluster.value().map(|cluster| cluster.0.clone()),
        server: settings.server.value().map(|server| server.0.clone()),
        spec: lowered.spec,
        source_dir: lowered.source_dir,
        build: lowered.build,
        unsupported: lowered.unsupported,
        advice,
    })
}

fn check_choice(target: Option<&str>, root: &Root, sink: &mut Sink) {
    let Some(chosen) = target else { return };
    let names: Vec<&str> = match root.targets.value() {
        Some(targets) => targets.entries.iter().map(|(name, _)| name.value.0.as_str()).collect(),
        None if root.targets.is_absent() => Vec::new(),
        None => return,
    };
    if names.contains(&chosen) {
        return;
    }
    let hint = match nearest(chosen, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if names.is_empty() => "the file has no `targets`".to_owned(),
        None => format!("the targets are {}", listed(names.iter().copied(), "and")),
    };
    let reason = format!("there is no target {}", crate::diagnostic::quoted(chosen));
    match root.targets.key() {
        Some(key) => sink.error_hint(key, reason, hint),
        None => sink.whole(reason, Some(hint)),
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Problems {
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let hint = missing.then(|| "`pando init` writes one; `-c FILE` names another".to_owned());
    let reason =
        if missing { "there is no such file".to_owned() } else { format!("the file can't be read: {error}") };
    whole(name, reason, hint)
}

fn unknown_format(name: &str) -> Problems {
    let hint = "its name ends in `.yaml`, `.yml`, `.json` or `.toml`".to_owned();
    whole(name, "the file's name does not say its format".to_owned(), Some(hint))
}

fn whole(name: &str, reason: String, hint: Option<String>) -> Problems {
    let mut sink = Sink::new(Arc::new(SourceFile::new(name, "")));
    sink.whole(reason, hint);
    sink.into_problems()
}

#[cfg(test)]
mod tests;
