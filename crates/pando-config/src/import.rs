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
    if request.kind.or_else(|| Kind::of(first)) == Some(Kind::Procfile) {
        only_one(request, Kind::Procfile)?;
        let text = text_of(first, files)?;
        return procfile::import(&shown, text.text(), request.app, request.base);
    }
    let (sources, erb) = sources(request, first, files)?;
    let told = sources.first().and_then(|(_, node)| Kind::told_by(node));
    let kind = request.kind.or(erb.then_some(Kind::Kamal)).or(told).or_else(|| Kind::of(first));
    let Some(kind) = kind.filter(|kind| *kind != Kind::Procfile) else {
        let hint = "a Procfile, and files of Compose, Kamal and Haloy can be imported; `--kind` says which of them it is";
        return Err(whole(&shown, "neither the file's name nor its content says what it is", Some(hint)));
    };
    only_one(request, kind)?;
    match (kind, &sources[..]) {
        (Kind::Kamal, _) => kamal::import(&sources, erb, request, files),
        (Kind::Haloy, [(_, node), ..]) => haloy::import(node, request.app, request.base),
        _ => compose::import(&sources, request, files),
    }
}

/// The files as trees, and whether ERB was taken out of them, which Kamal's alone may have.
fn sources(
    request: &Request<'_>,
    first: &Path,
    files: &dyn Files,
) -> Result<(Vec<(PathBuf, Node)>, bool), Problems> {
    let is_kamal = match request.kind {
        Some(kind) => kind == Kind::Kamal,
        None => looks_like_kamal(first, text_of(first, files)?.text()),
    };
    let mut sources = Vec::new();
    let mut erb = false;
    for path in request.files {
        let text = text_of(path, files)?;
        let format = Format::of(path).unwrap_or(Format::Yaml);
        let without = kamal::without_erb(text.text()).filter(|_| is_kamal && format == Format::Yaml);
        erb |= without.is_some();
        let text = without.as_deref().unwrap_or(text.text());
        sources.push((path.clone(), parsed(format, &path.display().to_string(), text)?));
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

fn text_of(path: &Path, files: &dyn Files) -> Result<std::sync::Arc<crate::source::SourceFile>, Problems> {
    let name = path.display().to_string();
    let bytes =
        files.read(path).map_err(|error| whole(&name, &format!("the file can't be read: {error}"), None))?;
    read::text(&name, &bytes)
}

/// A file that another one names; `None` if it can't be read.
fn parsed_file(path: &Path, files: &dyn Files) -> Option<Node> {
    let text = text_of(path, files).ok()?;
    parsed(Format::of(path).unwrap_or(Format::Yaml), &path.display().to_string(), text.text()).ok()
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
