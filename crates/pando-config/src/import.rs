//! A first `pando.yaml` from what an app already has: a Procfile, a
//! `haloy.yaml`, a `compose.yaml`, a Kamal `deploy.yml`, or the look of its directory.
//!
//! What can be carried over is; of everything else a note says which key and
//! why. Whatever comes in, what comes out is a valid file.

mod build;
mod compose;
mod compose_order;
mod compose_service;
mod directory;
mod draft;
mod haloy;
mod kamal;
mod known;
mod procfile;
mod shell;
mod variables;
mod write;

use std::path::{Path, PathBuf};

use crate::diagnostic::{Problems, Sink};
use crate::files::Files;
use crate::read::{self, Format};
use crate::tree::Node;

/// A written file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The text of a `pando.yaml`, with comments; valid.
    pub yaml: String,
    /// What could not be carried over, each with its key and why, or what to do; also in comments at the end of `yaml`.
    pub notes: Vec<String>,
}

/// What a file describes an app for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Procfile,
    Haloy,
    Compose,
    Kamal,
}

impl Kind {
    /// By the name of the file.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
        let yaml = matches!(extension, "yaml" | "yml");
        match stem {
            "procfile" => Some(Self::Procfile),
            "haloy" if yaml || matches!(extension, "json" | "toml") => Some(Self::Haloy),
            "compose" | "docker-compose" if yaml => Some(Self::Compose),
            "deploy" if yaml => Some(Self::Kamal),
            _ => None,
        }
    }
}

/// Where [`find`] looks, most telling first.
const CANDIDATES: [&str; 11] = [
    "haloy.yaml",
    "haloy.yml",
    "haloy.json",
    "haloy.toml",
    "config/deploy.yml",
    "config/deploy.yaml",
    "Procfile",
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
];

/// The file in `directory` that says most about the app, if there is one to import.
#[must_use]
pub fn find(directory: &Path, files: &dyn Files) -> Option<PathBuf> {
    CANDIDATES.iter().map(|name| directory.join(name)).find(|path| files.read(path).is_ok())
}

/// From the file at `path`, which is of the kind that its name says. `app` is the app's name where the file has none;
/// it is made a DNS label if it is not.
///
/// # Errors
/// The file can't be read, is not well-formed, or is not a file that [`Kind::of`] knows.
pub fn from_file(path: &Path, app: &str, files: &dyn Files) -> Result<Imported, Problems> {
    let name = path.display().to_string();
    let bytes =
        files.read(path).map_err(|error| whole(&name, &format!("the file can't be read: {error}"), None))?;
    let Some(kind) = Kind::of(path) else {
        let hint = "a Procfile, a haloy.yaml, a compose.yaml or a deploy.yml can be imported";
        return Err(whole(&name, "the file's name does not say what it is", Some(hint)));
    };
    let file = read::text(&name, &bytes)?;
    let format = Format::of(path).unwrap_or(Format::Yaml);
    from_text(kind, format, &name, file.text(), app)
}

fn from_text(kind: Kind, format: Format, name: &str, text: &str, app: &str) -> Result<Imported, Problems> {
    match kind {
        Kind::Procfile => procfile::import(name, text, app),
        Kind::Haloy => haloy::import(&parsed(format, name, text)?, app),
        Kind::Compose => compose::import(&parsed(format, name, text)?, app),
        Kind::Kamal => {
            kamal::import(&parsed(format, name, &kamal::without_erb(text))?, kamal::has_erb(text), app)
        }
    }
}

/// From a `Procfile`.
///
/// # Errors
/// Lines that are not `name: command`.
pub fn from_procfile(text: &str, app: &str) -> Result<Imported, Problems> {
    from_text(Kind::Procfile, Format::Yaml, "Procfile", text, app)
}

/// From a `haloy.yaml`.
///
/// # Errors
/// It is not well-formed YAML.
pub fn from_haloy(text: &str, app: &str) -> Result<Imported, Problems> {
    from_text(Kind::Haloy, Format::Yaml, "haloy.yaml", text, app)
}

/// From a `compose.yaml`.
///
/// # Errors
/// It is not well-formed YAML.
pub fn from_compose(text: &str, app: &str) -> Result<Imported, Problems> {
    from_text(Kind::Compose, Format::Yaml, "compose.yaml", text, app)
}

/// From a Kamal `deploy.yml`. Its ERB is not evaluated.
///
/// # Errors
/// It is not well-formed YAML.
pub fn from_kamal(text: &str, app: &str) -> Result<Imported, Problems> {
    from_text(Kind::Kamal, Format::Yaml, "deploy.yml", text, app)
}

/// From the look of a directory: what its files say of the language and framework. Always gives a file, if only one to
/// fill in.
#[must_use]
pub fn from_directory(directory: &Path, app: &str, files: &dyn Files) -> Imported {
    directory::import(directory, app, files)
}

fn parsed(format: Format, name: &str, text: &str) -> Result<Node, Problems> {
    let mut sink = Sink::new(std::sync::Arc::new(crate::source::SourceFile::new(name, text)));
    match read::tree(format, &mut sink) {
        Some(node) if !sink.has_errors() => {
            if node.entries().is_none() {
                sink.error(node.span, format!("expected a map of keys, found {}", node.describe()));
                return Err(sink.into_problems());
            }
            Ok(node)
        }
        _ => Err(sink.into_problems()),
    }
}

fn whole(name: &str, reason: &str, hint: Option<&str>) -> Problems {
    let mut sink = Sink::new(std::sync::Arc::new(crate::source::SourceFile::new(name, "")));
    sink.whole(reason, hint.map(str::to_owned));
    sink.into_problems()
}

#[cfg(test)]
mod tests;
