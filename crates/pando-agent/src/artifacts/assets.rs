//! Assets across releases: what the replicas of a release serve has the files of the releases beside it too.
//!
//! A page names its assets by what is in them, and asks whichever replica the load balancer picks: of the old release or the new, while
//! both run, and of the new one alone when the page is older. So what a release has of its own is kept apart, once, when the
//! release is made; from then on each release of the app that is on this server is given the files of all others. Only directories of one
//! name share. A file of its own is never replaced, and none is taken away from a release while the other is kept.
//!
//! ```text
//! releases/APP/vN.assets/files      its own
//! releases/APP/vN.assets/all        of images: what replicas see in place of their own directory, read-only
//! releases/APP/vN.assets/note.json  what it is; written last
//! releases/APP/.gone/vN             of a release that went; of use until the next one comes
//! ```
//!
//! Plain processes see the files in their release's own directory, which is the app's: it is changed only by copies, and no link in it is
//! followed. Everything here blocks.

mod image;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use pando_model::asset::AssetPath;
use pando_model::resources::Bytes;
use serde::{Deserialize, Serialize};

use super::disk::{Places, disk_error, make_directory, names_in, release_of, remove_tree, sync};
use super::{ArtifactError, UnpackError};
use crate::reconcile::ReleaseKey;

pub(super) use image::ensure;

use tree::{Dir, Way};

/// How much a release may have of its own: more than any that were fingerprinted for pages, less than a media library. Each release
/// that is kept has as much.
const MOST: Limits = Limits { bytes: 2_000_000_000, files: 100_000 };

#[derive(Debug, Clone, Copy)]
struct Limits {
    bytes: u64,
    files: usize,
}

/// Why a release's assets can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssetsError {
    #[error("there is no directory `{0}` in the release, and its `prepare` made none; mend `asset_path`")]
    Missing(String),
    #[error("`asset_path: {0}` is not an absolute path, as one of an image is")]
    Relative(String),
    #[error(
        "`{path}` holds more than {most} files; name the directory of the fingerprinted ones alone as `asset_path`"
    )]
    TooMany { path: String, most: usize },
    #[error(
        "`{path}` holds more than {most}; name the directory of the fingerprinted files alone as `asset_path`"
    )]
    TooLarge { path: String, most: Bytes },
    #[error("`{0}` has directories that lie too deep in each other")]
    Deep(String),
    #[error(
        "the asset `{path}` {what}; make it a file of its own, or name a directory without it as `asset_path`"
    )]
    Odd { path: String, what: String },
    #[error("the image's assets can't be read")]
    Unpack(#[source] UnpackError),
}

/// The content of `note.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    path: AssetPath,
    /// The engine's id of the image that they are of. `None`: of a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<String>,
}

/// What there is of one release.
struct Home<'a> {
    places: &'a Places,
    key: ReleaseKey,
}

impl<'a> Home<'a> {
    fn of(places: &'a Places, key: &ReleaseKey) -> Self {
        Self { places, key: key.clone() }
    }

    fn files(&self) -> PathBuf {
        self.places.assets(&self.key).join("files")
    }

    fn all(&self) -> PathBuf {
        self.places.assets(&self.key).join("all")
    }

    fn note(&self) -> Option<Note> {
        serde_json::from_slice(&fs::read(self.places.assets(&self.key).join("note.json")).ok()?).ok()
    }

    fn write_note(&self, note: &Note) -> Result<(), ArtifactError> {
        let path = self.places.assets(&self.key).join("note.json");
        let failed = |source| disk_error("write", &path, source);
        let bytes = serde_json::to_vec(note).map_err(|error| failed(error.into()))?;
        pando_rt::fs::write_atomically(&path, &bytes, 0o600).map_err(failed)
    }

    /// Empty, whatever was there.
    fn clear(&self) -> Result<(), ArtifactError> {
        let home = self.places.assets(&self.key);
        remove_tree(&home)?;
        make_directory(&home, 0o711)
    }

    /// Where its replicas see assets, and how files are put there. `None`: the app has removed the directory.
    fn shown(&self, note: &Note, release: &Path) -> Result<Option<(Dir, Way)>, ArtifactError> {
        if note.image.is_some() {
            let all = self.all();
            return Ok(Some((Dir::open(&all).map_err(failed("open", &all))?, Way::Link)));
        }
        let shown = Dir::open(release).and_then(|release| release.below(Path::new(note.path.as_str())));
        match shown {
            Ok(shown) => {
                let way = Way::Copy(shown.owner().map_err(failed("read", release))?);
                Ok(Some((shown, way)))
            }
            Err(error) => {
                tracing::warn!(
                    "{} {}: `{}` can't be added to: {error}",
                    self.key.0,
                    self.key.1,
                    note.path.as_str()
                );
                Ok(None)
            }
        }
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ArtifactError {
    let path = path.to_owned();
    move |source| disk_error(what, &path, source)
}

/// Of a release that is unpacked and prepared, and runs nowhere yet.
///
/// # Errors
/// When it has no such directory, or the directory holds too much.
pub(super) fn of_directory(places: &Places, key: &ReleaseKey, path: &AssetPath) -> Result<(), ArtifactError> {
    let _turn = places.assets_turn();
    let (home, staging) = (Home::of(places, key), places.staging(key));
    let missing = |_| AssetsError::Missing(path.as_str().to_owned());
    let own = Dir::open(&staging).map_err(failed("open", &staging))?;
    let own = own.below(Path::new(path.as_str())).map_err(missing)?;
    home.clear()?;
    let files = home.files();
    make_directory(&files, 0o700)?;
    let kept = Dir::open(&files).map_err(failed("open", &files))?;
    let names = tree::list(&own, path, MOST)?;
    tree::add_all(&own, &kept, &names, Way::Link).map_err(failed("write", &files))?;
    let note = Note { path: path.clone(), image: None };
    share(&home, &note, &staging)?;
    sync(&staging)?;
    home.write_note(&note)
}

/// Gives the release the files of the others that are here, and the others its own. `release`: where it lies now.
fn share(home: &Home<'_>, note: &Note, release: &Path) -> Result<(), ArtifactError> {
    let others = others(home)?;
    forget_gone(home, &others)?;
    let Some((shown, way)) = home.shown(note, release)? else { return Ok(()) };
    for (other, its) in others.iter().filter(|(_, its)| is_alike(&its.path, &note.path)) {
        give(other, its, &shown, way)?;
        let directory = other.places.directory(&other.key);
        if let Some((shown, way)) = other.shown(its, &directory)? {
            give(home, note, &shown, way)?;
        }
    }
    Ok(())
}

/// Whether files of one directory have a place in the other: both are called alike, as `public/assets` and `/app/public/assets` are. What
/// somebody named by mistake, such as the app's whole directory, is nothing for the releases after it.
fn is_alike(one: &AssetPath, other: &AssetPath) -> bool {
    let name = |path: &AssetPath| Path::new(path.as_str()).file_name().map(ToOwned::to_owned);
    name(one) == name(other)
}

/// The files of a release, to where those of another are seen.
fn give(from: &Home<'_>, note: &Note, to: &Dir, way: Way) -> Result<(), ArtifactError> {
    let files = from.files();
    let own = Dir::open(&files).map_err(failed("open", &files))?;
    let names = tree::list(&own, &note.path, MOST)?;
    tree::add_all(&own, to, &names, way).map_err(failed("write", &files))
}

/// The other releases of the app whose assets are here, whole.
fn others<'a>(home: &Home<'a>) -> Result<Vec<(Home<'a>, Note)>, ArtifactError> {
    let app = home.places.app(&home.key);
    let mut found = Vec::new();
    for name in names_in(&app)? {
        let Some(release) = name.strip_suffix(".assets").and_then(release_of) else { continue };
        let other = Home { places: home.places, key: (home.key.0.clone(), release) };
        if let Some(note) = other.note().filter(|_| release != home.key.1) {
            found.push((other, note));
        }
    }
    Ok(found)
}

/// Takes the files of releases that went out of those that stay, unless one of these has it of its own.
fn forget_gone(home: &Home<'_>, others: &[(Home<'_>, Note)]) -> Result<(), ArtifactError> {
    let gone = home.places.app(&home.key).join(GONE);
    if !gone.is_dir() {
        return Ok(());
    }
    for name in names_in(&gone)? {
        let path = gone.join(name);
        let left = Dir::open(&path).map_err(failed("open", &path))?;
        let names = tree::list_any(&left).map_err(failed("read", &path))?;
        let kept = |name: &Path| {
            let homes = others.iter().map(|(other, _)| other).chain([home]);
            homes.into_iter().any(|home| home.files().join(name).symlink_metadata().is_ok())
        };
        for (other, note) in others {
            if let Some((shown, _)) = other.shown(note, &other.places.directory(&other.key))? {
                names.iter().filter(|name| !kept(name)).for_each(|name| shown.remove(name));
            }
        }
        remove_tree(&path)?;
    }
    Ok(())
}

/// Not the name of a release.
const GONE: &str = ".gone";

/// The release goes. Pages of it may be about for a while: what it gave to others stays there until the next release comes.
pub(super) fn retire(places: &Places, key: &ReleaseKey) -> Result<(), ArtifactError> {
    let home = Home::of(places, key);
    let (held, gone) = (places.assets(key), places.app(key).join(GONE));
    if !places.app(key).is_dir() {
        return Ok(());
    }
    let _turn = places.assets_turn();
    if others(&home)?.is_empty() {
        remove_tree(&gone)?;
    } else if home.note().is_some() {
        make_directory(&gone, 0o700)?;
        let to = gone.join(key.1.to_string());
        remove_tree(&to)?;
        let files = home.files();
        fs::rename(&files, &to).map_err(failed("rename", &files))?;
    }
    remove_tree(&held)
}

#[cfg(test)]
mod tests;
