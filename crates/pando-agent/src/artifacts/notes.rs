//! What is on record of images under releases' names, beside the releases. Everything here blocks.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use pando_model::assignment::AssignedRelease;
use pando_model::name::AppName;
use pando_model::release::Digest;
use pando_runtime::docker::ImageFacts;
use serde::{Deserialize, Serialize};

use super::ArtifactError;
use super::disk::{Places, disk_error, make_directory, names_in, release_of, there};
use crate::reconcile::ReleaseKey;

/// The content of `vN.image`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Note {
    /// What the file called it, if it was not sent.
    pub(super) reference: Option<String>,
    /// The engine called nothing so before it pulled this one for us: the name is ours to take away.
    pub(super) ours: bool,
    /// What the engine calls the image, if it has it because we sent it or had it pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) brought: Option<String>,
    /// The description that the release named, if it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) artifact: Option<Digest>,
    /// Which image of the engine the release is, whatever has its name. `None`: it has none yet, or an earlier version did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<Identity>,
}

impl Note {
    /// It speaks of that release, and not of another that had its number before. One of an earlier version may.
    pub(super) fn is_of(&self, release: &AssignedRelease) -> bool {
        let reference = release.image.as_ref().map(|image| &image.reference);
        match (&self.artifact, &self.reference) {
            (Some(artifact), _) => release.artifact.as_ref() == Some(artifact),
            (None, Some(pulled)) => release.artifact.is_none() && reference == Some(pulled),
            (None, None) => true,
        }
    }

    /// Which image a release of that reference was, as far as this says.
    pub(super) fn image_of(self, reference: &str) -> Option<Identity> {
        self.image.filter(|_| self.reference.as_deref() == Some(reference))
    }
}

/// What tells an image from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The engine's. Another kind of store gives another to the same image.
    pub(super) id: String,
    /// The digests of its layers' tars, the lowest first.
    pub(super) layers: Vec<String>,
}

impl Identity {
    pub(super) fn of(facts: &ImageFacts) -> Self {
        Self { id: facts.id.clone(), layers: facts.layers.clone() }
    }

    /// It is this one, as far as its content tells.
    pub(super) fn is_like(&self, facts: &ImageFacts) -> bool {
        self.id == facts.id || (!self.layers.is_empty() && self.layers == facts.layers)
    }
}

pub(super) fn write(places: &Places, key: &ReleaseKey, note: &Note) -> Result<(), ArtifactError> {
    let path = places.image(key);
    make_directory(path.parent().unwrap_or(places.root()), 0o711)?;
    let failed = |source| disk_error("write", &path, source);
    let bytes = serde_json::to_vec(note).map_err(|error| failed(error.into()))?;
    pando_rt::fs::write_atomically(&path, &bytes, 0o600).map_err(failed)
}

/// `None`: the engine has nothing under the release's name. One that can't be read, such as the empty ones of older versions, says just
/// that there is one.
pub(super) fn read(places: &Places, key: &ReleaseKey) -> Option<Note> {
    let bytes = fs::read(places.image(key)).ok()?;
    Some(serde_json::from_slice(&bytes).unwrap_or_default())
}

pub(super) fn remove(places: &Places, key: &ReleaseKey) -> Result<(), ArtifactError> {
    let path = places.image(key);
    there(fs::remove_file(&path)).map_err(|source| disk_error("remove", &path, source))
}

/// The releases whose images the engine had from `reference`, of all apps, newest first.
pub(super) fn made_from(places: &Places, reference: &str) -> Result<Vec<ReleaseKey>, ArtifactError> {
    let mut found = all(places)?;
    found.retain(|(_, note)| note.reference.as_deref() == Some(reference));
    found.sort_by_key(|((_, release), _)| std::cmp::Reverse(*release));
    Ok(found.into_iter().map(|(key, _)| key).collect())
}

/// Whether we brought that image for a release that is on record.
pub(super) fn is_brought(places: &Places, id: &str) -> Result<bool, ArtifactError> {
    Ok(all(places)?.iter().any(|(_, note)| note.brought.as_deref() == Some(id)))
}

fn all(places: &Places) -> Result<Vec<(ReleaseKey, Note)>, ArtifactError> {
    let mut found = Vec::new();
    for name in names_in(places.root())? {
        let Ok(app) = AppName::new(name.as_str()) else { continue };
        for name in names_in(&places.root().join(&name))? {
            let Some(release) = name.strip_suffix(".image").and_then(release_of) else { continue };
            let key = (app.clone(), release);
            if let Some(note) = read(places, &key) {
                found.push((key, note));
            }
        }
    }
    Ok(found)
}

/// Puts on record that the engine has an image of ours that nothing is called by.
pub(super) fn add_nameless(places: &Places, id: &str) -> Result<(), ArtifactError> {
    let Some(path) = nameless_path(places, id) else { return Ok(()) };
    make_directory(&places.nameless(), 0o700)?;
    fs::write(&path, b"").map_err(|source| disk_error("write", &path, source))
}

/// It has none any more, or it is called something.
pub(super) fn forget_nameless(places: &Places, id: &str) -> Result<(), ArtifactError> {
    let Some(path) = nameless_path(places, id) else { return Ok(()) };
    there(fs::remove_file(&path)).map_err(|source| disk_error("remove", &path, source))
}

/// The engine's ids of such images.
pub(super) fn nameless(places: &Places) -> Result<BTreeSet<String>, ArtifactError> {
    let directory = places.nameless();
    if !directory.exists() {
        return Ok(BTreeSet::new());
    }
    Ok(names_in(&directory)?.into_iter().map(|name| format!("sha256:{name}")).collect())
}

/// `None`: it is no id that an engine gives.
fn nameless_path(places: &Places, id: &str) -> Option<PathBuf> {
    let digest = Digest::new(id.strip_prefix("sha256:")?).ok()?;
    Some(places.nameless().join(digest.as_str()))
}

#[cfg(test)]
mod tests {
    use pando_model::release::ReleaseNumber;

    use super::*;

    #[test]
    fn a_note_says_where_an_image_came_from_and_whose_the_name_is() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path().to_owned());
        let key = |app: &str, release| (app.parse().unwrap(), ReleaseNumber(release));
        assert_eq!(read(&places, &key("shop", 1)), None);
        let id = format!("sha256:{}", "a".repeat(64));
        let note = |reference: &str| Note {
            reference: Some(reference.to_owned()),
            ours: true,
            brought: Some(id.clone()),
            artifact: None,
            image: Some(Identity { id: id.clone(), layers: vec!["sha256:b".to_owned()] }),
        };
        for (app, release, reference) in
            [("shop", 1, "r.test/shop:1"), ("hits", 9, "r.test/shop:1"), ("shop", 2, "r.test/shop:2")]
        {
            write(&places, &key(app, release), &note(reference)).unwrap();
        }
        assert_eq!(read(&places, &key("shop", 2)), Some(note("r.test/shop:2")));
        assert_eq!(made_from(&places, "r.test/shop:1").unwrap(), [key("hits", 9), key("shop", 1)]);
        assert!(is_brought(&places, &id).unwrap() && !is_brought(&places, "sha256:b").unwrap());
        // As an older version left it.
        fs::write(places.image(&key("shop", 3)), b"").unwrap();
        assert_eq!(read(&places, &key("shop", 3)), Some(Note::default()));
        for release in [1, 1] {
            remove(&places, &key("shop", release)).unwrap();
        }
        assert_eq!(read(&places, &key("shop", 1)), None);
    }

    #[test]
    fn images_without_a_name_are_remembered_until_they_are_gone() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path().to_owned());
        assert_eq!(nameless(&places).unwrap(), BTreeSet::new());
        let id = format!("sha256:{}", "c".repeat(64));
        for id in [&id, "sha256:../../etc", "nonsense"] {
            add_nameless(&places, id).unwrap();
        }
        assert_eq!(nameless(&places).unwrap(), BTreeSet::from([id.clone()]));
        for _ in 0..2 {
            forget_nameless(&places, &id).unwrap();
        }
        assert_eq!(nameless(&places).unwrap(), BTreeSet::new());
    }
}
