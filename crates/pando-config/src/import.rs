//! A first `pando.yaml` from what an app already has: a Procfile, a
//! `haloy.yaml`, a `compose.yaml`, a Kamal `deploy.yml`, or the look of its directory.
//!
//! What can be carried over is; of everything else a note says which key and
//! why. Whatever comes in, what comes out is a valid file.

mod build;
mod compose;
mod directory;
mod draft;
mod haloy;
mod kamal;
mod known;
mod mounts;
mod procfile;
mod secrecy;
pub(crate) mod shell;
mod variables;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Problems, Sink};
use crate::files::Files;
use crate::read::{self, Dialect, Format};
use crate::source::SourceFile;
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
    /// By the name of the file: `docker-compose.prod.yml` is one of Compose's as `compose.yaml` is.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let (stem, _) = name.split_once('.').unwrap_or((&name, ""));
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let yaml = matches!(extension, "yaml" | "yml");
        match stem {
            "procfile" => Some(Self::Procfile),
            "haloy" if yaml || matches!(extension, "json" | "toml") => Some(Self::Haloy),
            "compose" | "docker-compose" if yaml => Some(Self::Compose),
            "deploy" if yaml => Some(Self::Kamal),
            _ => None,
        }
    }

    /// By what is in the file.
    fn told_by(node: &Node) -> Option<Self> {
        let map = |key: &str| node.get(key).is_some_and(|value| value.entries().is_some());
        let has = |key: &str| node.get(key).is_some();
        if map("services") {
            return Some(Self::Compose);
        }
        if has("service") && (has("image") || has("servers")) {
            return Some(Self::Kamal);
        }
        let haloy = ["image_key", "health_check_path", "deployment_strategy", "server", "targets", "domains"];
        (has("name") && haloy.iter().any(|key| has(key))).then_some(Self::Haloy)
    }
}

/// What is asked of an import.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// At least one. Files of Compose and of Kamal may be several, later ones over earlier ones by these tools' rules.
    pub files: &'a [PathBuf],
    /// Without it: as content and name of the first file say.
    pub kind: Option<Kind>,
    /// The app's name where the file has none; it is made a DNS label if it is not.
    pub app: &'a str,
    /// Of a compose file with several apps: the service that the app is made of.
    pub service: Option<&'a str>,
    /// The directory of the first file, seen from that of the new one.
    pub base: &'a Path,
}

impl Request<'_> {
    /// The first file, for messages.
    fn shown(&self) -> String {
        self.files.first().map(|path| path.display().to_string()).unwrap_or_default()
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

/// From the file at `path`, in whose directory the new one will be. `app` is the app's name where the file has none.
///
/// # Errors
/// As [`from_files`].
pub fn from_file(path: &Path, app: &str, files: &dyn Files) -> Result<Imported, Problems> {
    let paths = [path.to_owned()];
    from_files(&Request { files: &paths, kind: None, app, service: None, base: Path::new("") }, files)
}

/// From the files that are asked for.
///
/// # Errors
/// One can't be read, is not well-formed, or neither its name nor its content says what it is; or more is asked than there is.
pub fn from_files(request: &Request<'_>, files: &dyn Files) -> Result<Imported, Problems> {
    let shown = request.shown();
    let Some(first) = request.files.first() else { return Err(whole(&shown, "no file is named", None)) };
    let kind = kind_of(first, request, files)?;
    only_one(request, kind)?;
    match kind {
        Kind::Procfile => procfile::import(&shown, text_of(first, files)?.text(), request.app, request.base),
        Kind::Compose => compose::import(request, files),
        Kind::Kamal => {
            let (sources, erb) = sources(request, files)?;
            kamal::import(&sources, erb, request, files)
        }
        Kind::Haloy => {
            let node = parsed_source(Dialect::Pando, first, text_of(first, files)?)?;
            haloy::import(&node, request.app, request.base)
        }
    }
}

/// What the files are: as it is asked for, or as the first one's content says, or its name.
fn kind_of(first: &Path, request: &Request<'_>, files: &dyn Files) -> Result<Kind, Problems> {
    let named = Kind::of(first);
    if let Some(kind) = request.kind.or(named.filter(|kind| *kind == Kind::Procfile)) {
        return Ok(kind);
    }
    let source = text_of(first, files)?;
    if looks_like_kamal(first, source.text()) && kamal::without_erb(source.text()).is_some() {
        return Ok(Kind::Kamal);
    }
    let told = Kind::told_by(&parsed_source(Dialect::Compose, first, source)?);
    told.or(named).ok_or_else(|| {
        let hint = "a Procfile, and files of Compose, Kamal and Haloy can be imported; `--kind` says which of them it is";
        whole(&request.shown(), "neither the file's name nor its content says what it is", Some(hint))
    })
}

/// Kamal's files as trees, and whether ERB was taken out of them.
fn sources(request: &Request<'_>, files: &dyn Files) -> Result<(Vec<(PathBuf, Node)>, bool), Problems> {
    let mut sources = Vec::new();
    let mut erb = false;
    for path in request.files {
        let text = text_of(path, files)?;
        let format = Format::of(path).unwrap_or(Format::Yaml);
        let without = kamal::without_erb(text.text()).filter(|_| format == Format::Yaml);
        erb |= without.is_some();
        let text = without.map_or(text, |text| Arc::new(SourceFile::new(path.display().to_string(), text)));
        sources.push((path.clone(), parsed_source(Dialect::Pando, path, text)?));
    }
    Ok((sources, erb))
}

/// Whether a file is Kamal's, before it is known to be YAML: by its keys, or as `config/deploy*.yml`.
fn looks_like_kamal(path: &Path, text: &str) -> bool {
    let has =
        |key: &str| text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
    let in_config = path.parent().and_then(Path::file_name).is_some_and(|name| name == "config");
    let named = in_config && Kind::of(path) == Some(Kind::Kamal);
    !has("services") && (named || (has("service") && (has("image") || has("servers"))))
}

/// Some tools have one file, and only Compose's has several apps in it.
fn only_one(request: &Request<'_>, kind: Kind) -> Result<(), Problems> {
    let shown = request.shown();
    if request.files.len() > 1 && matches!(kind, Kind::Procfile | Kind::Haloy) {
        let hint = "files of Compose and of Kamal can be several";
        return Err(whole(&shown, "only one such file is imported at a time", Some(hint)));
    }
    if request.service.is_some() && kind != Kind::Compose {
        return Err(whole(&shown, "only files of Compose have services to choose from", None));
    }
    Ok(())
}

fn text_of(path: &Path, files: &dyn Files) -> Result<Arc<SourceFile>, Problems> {
    let name = path.display().to_string();
    let bytes =
        files.read(path).map_err(|error| whole(&name, &format!("the file can't be read: {error}"), None))?;
    read::text(&name, &bytes)
}

/// From the look of a directory: what its files say of the language and framework. Always gives a file, if only one to
/// fill in.
#[must_use]
pub fn from_directory(directory: &Path, app: &str, files: &dyn Files) -> Imported {
    directory::import(directory, app, files)
}

/// The tree of a file, which is a map.
fn parsed_source(dialect: Dialect, path: &Path, source: Arc<SourceFile>) -> Result<Node, Problems> {
    let mut sink = Sink::new(source);
    match read::tree_in(dialect, Format::of(path).unwrap_or(Format::Yaml), &mut sink) {
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
    let mut sink = Sink::new(Arc::new(SourceFile::new(name, "")));
    sink.whole(reason, hint.map(str::to_owned));
    sink.into_problems()
}

#[cfg(test)]
mod tests;
