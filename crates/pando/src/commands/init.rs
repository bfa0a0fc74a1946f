//! `pando init`: a first `pando.yaml`, from what is here.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use pando_config::{Disk, import};
use pando_model::name::AppName;
use serde_json::json;

use crate::cli::{InitArgs, SourceKind};
use crate::context::{Context, shown};
use crate::exit::{REFUSED, Trouble};

pub(crate) fn run(args: &InitArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let file = context.named_file().unwrap_or_else(|| PathBuf::from("pando.yaml"));
    if file.exists() && !args.force {
        let message = format!("`{}` is here already", shown(&file));
        return Err(Trouble::new(REFUSED, "exists", message).hint("`--force` writes over it").into());
    }
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let name = name(args, &directory)?;
    let sources = sources(args, &directory);
    let imported = imported(args, &sources, &directory, name.as_str())?;
    fs::write(&file, &imported.yaml).with_context(|| format!("can't write `{}`", shown(&file)))?;
    tell(&file, &sources, &imported, context)?;
    Ok(ExitCode::SUCCESS)
}

/// What to import: what was asked for, or what is here.
fn sources(args: &InitArgs, directory: &Path) -> Vec<PathBuf> {
    if !args.from.is_empty() {
        return args.from.clone();
    }
    let found = import::find(directory, &Disk);
    found.map(|path| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path)).into_iter().collect()
}

fn tell(
    file: &Path,
    sources: &[PathBuf],
    imported: &import::Imported,
    context: &Context,
) -> anyhow::Result<()> {
    let printer = context.printer();
    if printer.is_json() {
        let from = sources.first().map(|path| shown(path));
        return printer.json(&json!({ "file": shown(file), "from": from, "notes": imported.notes }));
    }
    for note in &imported.notes {
        printer.warn(note);
    }
    let from = sources.iter().map(|path| format!("`{}`", shown(path))).collect::<Vec<_>>().join(" and ");
    let from = if from.is_empty() { from } else { format!(" from {from}") };
    printer.line(format_args!("wrote `{}`{from}; next: `pando check`, then `pando dev`", shown(file)))
}

fn imported(
    args: &InitArgs,
    sources: &[PathBuf],
    directory: &Path,
    name: &str,
) -> anyhow::Result<import::Imported> {
    let Some(first) = sources.first() else { return Ok(import::from_directory(directory, name, &Disk)) };
    let base = seen_from(directory, first.parent().unwrap_or(Path::new("")));
    let request = import::Request {
        files: sources,
        kind: args.kind.map(SourceKind::kind),
        app: name,
        service: args.service.as_deref(),
        base: &base,
    };
    Ok(import::from_files(&request, &Disk)?)
}

/// `to`, seen from `from`; empty where they are the same.
fn seen_from(from: &Path, to: &Path) -> PathBuf {
    let full = |path: &Path| {
        let path = if path == Path::new("") { Path::new(".") } else { path };
        path.canonicalize().unwrap_or_else(|_| path.to_owned())
    };
    let (from, to) = (full(from), full(to));
    let same = from.components().zip(to.components()).take_while(|(one, other)| one == other).count();
    let up = from.components().skip(same).map(|_| Component::ParentDir);
    up.chain(to.components().skip(same)).collect()
}

/// As given, or the directory's, as far as it can be a name.
fn name(args: &InitArgs, directory: &Path) -> anyhow::Result<AppName> {
    if let Some(name) = &args.name {
        return AppName::new(name.as_str()).map_err(|error| Trouble::wrong(error.to_string()).into());
    }
    let full = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let last = full.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let label: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    let name = AppName::new(label.trim_matches('-')).or_else(|_| AppName::new("app"));
    name.map_err(|error| Trouble::wrong(error.to_string()).into())
}
