//! `pando init`: a first `pando.yaml`, from what is here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use pando_config::{Disk, import};
use pando_model::name::AppName;
use serde_json::json;

use crate::cli::InitArgs;
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
    let source = args.from.clone().or_else(|| import::find(&directory, &Disk));
    let imported = match &source {
        Some(path) => import::from_file(path, name.as_str(), &Disk)?,
        None => import::from_directory(&directory, name.as_str(), &Disk),
    };
    fs::write(&file, &imported.yaml).with_context(|| format!("can't write `{}`", shown(&file)))?;
    let printer = context.printer();
    if printer.is_json() {
        let from = source.as_deref().map(shown);
        printer.json(&json!({ "file": shown(&file), "from": from, "notes": imported.notes }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for note in &imported.notes {
        printer.warn(note);
    }
    let from = source.map(|path| format!(" from `{}`", shown(&path))).unwrap_or_default();
    printer.line(format_args!("wrote `{}`{from}; next: `pando check`, then `pando dev`", shown(&file)))?;
    Ok(ExitCode::SUCCESS)
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
