//! Assets of images: taken out of the image once, and mounted in place of the image's own directory.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use pando_model::asset::AssetPath;
use pando_model::resources::Bytes;
use pando_runtime::docker::Containers;
use tar::{Archive, Entry, EntryType};

use super::tree::{self, Dir, Way};
use super::{AssetsError, Home, MOST, Note, failed, share};
use crate::artifacts::disk::{Places, make_directory, remove_file, sync};
use crate::artifacts::unpack::UnpackError;
use crate::artifacts::unpack::tree::{Meta, Tree, parts};
use crate::artifacts::{ArtifactError, blocking};
use crate::reconcile::ReleaseKey;

/// What a tar has beyond its files: at most two blocks for each that may be there.
const FRAMING: u64 = 100_000 * 2 * 512;

/// Makes sure that the assets of the image `name` are there, which the engine has.
///
/// # Errors
/// When the image has no such directory, or it holds too much.
pub(crate) async fn ensure(
    places: &Places,
    containers: &Containers,
    key: &ReleaseKey,
    name: &str,
    path: &AssetPath,
) -> Result<(), ArtifactError> {
    if !path.is_absolute() {
        return Err(AssetsError::Relative(path.as_str().to_owned()).into());
    }
    let failed = |source| ArtifactError::Engine { what: format!("use the image `{name}`"), source };
    let id = containers.image(name).await.map_err(failed)?.id;
    let note = Note { path: path.clone(), image: Some(id) };
    let (here, of, wanted) = (places.clone(), key.clone(), note.clone());
    let Some(tar) = blocking(move || begin(&here, &of, &wanted)).await? else { return Ok(()) };
    let most = Bytes(MOST.bytes + FRAMING);
    containers.copy_out(&key.0, name, path.as_str(), &tar, most).await?;
    let (here, of, from) = (places.clone(), key.clone(), tar.clone());
    blocking(move || finish(&here, &of, &note, &from)).await?;
    remove_file(&tar).await
}

/// Where the archive of them is to lie. `None`: they are there.
pub(super) fn begin(
    places: &Places,
    key: &ReleaseKey,
    note: &Note,
) -> Result<Option<PathBuf>, ArtifactError> {
    let home = Home::of(places, key);
    if home.note().as_ref() == Some(note) && home.all().is_dir() {
        return Ok(None);
    }
    make_directory(&places.app(key), 0o711)?;
    let _turn = places.assets_turn();
    home.clear()?;
    Ok(Some(places.assets(key).join("files.tar")))
}

pub(super) fn finish(
    places: &Places,
    key: &ReleaseKey,
    note: &Note,
    tar: &Path,
) -> Result<(), ArtifactError> {
    let _turn = places.assets_turn();
    let home = Home::of(places, key);
    let (files, all) = (home.files(), home.all());
    unpack(tar, &files)?;
    // Replicas run as whoever their image says, and what is mounted there is nobody's secret.
    make_directory(&all, 0o755)?;
    let own = Dir::open(&files).map_err(failed("open", &files))?;
    let shown = Dir::open(&all).map_err(failed("open", &all))?;
    let names = tree::list(&own, &note.path, MOST)?;
    tree::add_all(&own, &shown, &names, Way::Link).map_err(failed("write", &all))?;
    share(&home, note, &all)?;
    sync(&all)?;
    home.write_note(note)
}

/// Files, directories and links, readable by everybody; whatever else there is has no place among assets.
fn unpack(tar: &Path, into: &Path) -> Result<(), ArtifactError> {
    let archive = File::open(tar).map_err(failed("read", tar))?;
    let mut tree = Tree::make(into, None)?;
    let mut archive = Archive::new(BufReader::with_capacity(256 * 1024, archive));
    let mut count = 0;
    for entry in archive.entries().map_err(|error| told(UnpackError::Damaged(error)))? {
        count += 1;
        // Directories are few beside files.
        if count > MOST.files * 2 {
            return Err(AssetsError::TooMany { path: into.display().to_string(), most: MOST.files }.into());
        }
        entry.map_err(UnpackError::Damaged).and_then(|entry| place(&mut tree, entry)).map_err(told)?;
    }
    Ok(())
}

/// They are no packed release.
fn told(error: UnpackError) -> ArtifactError {
    let odd = |path, what: &str| AssetsError::Odd { path, what: what.to_owned() };
    let error = match error {
        UnpackError::Disk { .. } => return error.into(),
        UnpackError::LeadsOut { path, target } => {
            let what = format!("is a hard link to `{target}`, which is no file among the assets");
            AssetsError::Odd { path, what }
        }
        UnpackError::Outside(path) => odd(path, "lies outside of them"),
        UnpackError::Clash(path) => odd(path, "lies below or instead of something else of that name"),
        UnpackError::Deep(path) => odd(path, "lies too deep"),
        UnpackError::Kind { path, kind } => odd(path, &format!("is {kind}")),
        other => AssetsError::Unpack(other),
    };
    error.into()
}

fn place<R: io::Read>(tree: &mut Tree, mut entry: Entry<'_, R>) -> Result<(), UnpackError> {
    let path = entry.path_bytes().into_owned();
    let parts = parts(&path)?;
    let meta = Meta::of(entry.header())?.readable();
    let target = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
    match entry.header().entry_type() {
        _ if parts.is_empty() => Ok(()),
        EntryType::Directory => tree.directory(&parts, &meta),
        EntryType::Regular | EntryType::Continuous => {
            let mut file = tree.file(&parts, &meta)?;
            let written = io::copy(&mut entry, &mut file);
            written.map_err(|source| UnpackError::Disk { path: parts.iter().collect(), source })?;
            tree.finish(&file, &meta, &parts)
        }
        EntryType::Symlink => tree.symlink(&parts, &target),
        EntryType::Link => tree.hard_link(&parts, &self::parts(&target)?),
        _ => Ok(()),
    }
}
