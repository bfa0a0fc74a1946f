//! What things take on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pando_runtime::docker::{Containers, ImageSeen};
use sha2::{Digest as _, Sha256};

use super::{Found, What};

/// Of a file; 0 when it can't be looked at. Blocking.
pub(super) fn file(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |metadata| taken(&metadata))
}

/// Of a file or of all below a directory; a file of several names is counted once. Blocking.
pub(super) fn tree(path: &Path) -> u64 {
    let (mut bytes, mut seen, mut left) = (0, BTreeSet::new(), vec![path.to_owned()]);
    while let Some(path) = left.pop() {
        // One that goes meanwhile takes nothing.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.nlink() == 1 || metadata.is_dir() || seen.insert((metadata.dev(), metadata.ino())) {
            bytes += taken(&metadata);
        }
        if metadata.is_dir() {
            left.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    bytes
}

/// The system counts in blocks of 512 bytes, whatever those of the disk are.
fn taken(metadata: &Metadata) -> u64 {
    metadata.blocks() * 512
}

/// Puts down for each image that goes what goes with it. Sizes that are not known yet are asked for.
pub(super) async fn images(containers: &Containers, found: &mut Found) {
    let going = going(found);
    for image in found.images.iter().filter(|image| going.contains(&image.id)) {
        if !found.sizes.contains_key(&image.id) {
            // What can't be told counts nothing.
            let asked = containers.layer_sizes(&image.id, image.layers.len()).await;
            found.sizes.insert(image.id.clone(), asked.unwrap_or_default());
        }
    }
    share_out(found, &going);
}

/// The layers that no image has that stays, each once.
fn share_out(found: &mut Found, going: &BTreeSet<String>) {
    let stays = found.images.iter().filter(|image| !going.contains(&image.id));
    let mut counted: BTreeSet<String> = stays.flat_map(|image| chains(&image.layers)).collect();
    for thing in &mut found.things {
        let (What::Image(_, image) | What::Nameless(image)) = &thing.what else { continue };
        let sizes = found.sizes.get(&image.id).filter(|_| going.contains(&image.id));
        let layers = chains(&image.layers).into_iter().zip(sizes.into_iter().flatten());
        thing.bytes =
            layers.filter(|(chain, _)| counted.insert(chain.clone())).map(|(_, bytes)| *bytes).sum();
    }
}

/// The ids of images that have no name left when all these things are gone.
fn going(found: &Found) -> BTreeSet<String> {
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for thing in &found.things {
        if let What::Image(_, image) | What::Nameless(image) = &thing.what {
            names.entry(&image.id).or_default().insert(&thing.name);
        }
    }
    let of = |id: &str| found.images.iter().find(|image| image.id == id);
    let is_last = |id: &&str| of(id).is_some_and(|image| loses_all(image, names.get(id)));
    names.keys().copied().filter(is_last).map(str::to_owned).collect()
}

/// What a registry called it holds it as well as a name does.
fn loses_all(image: &ImageSeen, names: Option<&BTreeSet<&str>>) -> bool {
    let goes = |name: &String| names.is_some_and(|names| names.contains(name.as_str()));
    image.names.iter().all(goes) && image.digests.is_empty()
}

/// What an engine calls a layer upon those below it: the same tar upon others is another layer.
fn chains(layers: &[String]) -> Vec<String> {
    let mut chains: Vec<String> = Vec::new();
    for layer in layers {
        let chain = match chains.last() {
            None => layer.clone(),
            Some(below) => format!("sha256:{}", hex::encode(Sha256::digest(format!("{below} {layer}")))),
        };
        chains.push(chain);
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_known_with_all_that_is_below_it() {
        let [a, b, c] = ["sha256:a", "sha256:b", "sha256:c"].map(str::to_owned);
        let one = chains(&[a.clone(), b.clone()]);
        let other = chains(&[a, c, b]);
        assert_eq!(one[0], other[0]);
        assert!(!other.contains(&one[1]), "the same tar upon another is another layer");
    }

    fn image(id: &str, names: &[&str], layers: &[&str]) -> ImageSeen {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        ImageSeen { id: id.to_owned(), names: owned(names), digests: Vec::new(), layers: owned(layers) }
    }

    /// Bytes of each name that goes, in this order.
    fn shared_out(images: &[ImageSeen], names: &[&str]) -> Vec<u64> {
        let key = ("shop".parse().unwrap(), pando_model::release::ReleaseNumber(1));
        let thing = |name: &&str| {
            let image = images.iter().find(|image| image.names.iter().any(|one| one == name)).unwrap();
            let what = What::Image(key.clone(), image.clone());
            super::super::Thing { what, name: (*name).to_owned(), bytes: 0, why: "" }
        };
        let size = |layer: &String| layer.len() as u64;
        let sizes = images.iter().map(|one| (one.id.clone(), one.layers.iter().map(size).collect()));
        let mut found = Found {
            things: names.iter().map(thing).collect(),
            images: images.to_vec(),
            sizes: sizes.collect(),
            ..Found::default()
        };
        let going = going(&found);
        share_out(&mut found, &going);
        found.things.iter().map(|thing| thing.bytes).collect()
    }

    #[test]
    fn layers_that_images_share_are_counted_once_or_not_at_all() {
        let base = image("base", &["debian:12"], &["dd"]);
        let one = image("one", &["pando/shop:v1-x"], &["dd", "bbb", "o"]);
        let two = image("two", &["pando/shop:v2-x"], &["dd", "bbb", "tttt"]);
        let all = [base, one.clone(), two.clone()];
        assert_eq!(shared_out(&all, &["pando/shop:v1-x"]), [1], "the rest stays with the others");
        assert_eq!(shared_out(&all, &["pando/shop:v1-x", "pando/shop:v2-x"]), [4, 4]);
        assert_eq!(shared_out(&all[1..], &["pando/shop:v1-x", "pando/shop:v2-x"]), [6, 4]);
    }

    #[test]
    fn an_image_that_keeps_a_name_frees_nothing() {
        let two_names = image("one", &["pando/shop:v1-x", "shop:1"], &["aaa"]);
        assert_eq!(shared_out(&[two_names], &["pando/shop:v1-x"]), [0]);
        let both_go = image("one", &["pando/shop:v1-x", "pando/shop:v2-x"], &["aaa"]);
        assert_eq!(shared_out(&[both_go], &["pando/shop:v1-x", "pando/shop:v2-x"]), [3, 0]);
        let pulled = ImageSeen {
            digests: vec!["shop@sha256:a".to_owned()],
            ..image("one", &["pando/shop:v1-x"], &["aaa"])
        };
        assert_eq!(shared_out(&[pulled], &["pando/shop:v1-x"]), [0]);
    }

    #[test]
    fn a_file_of_two_names_is_counted_once() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("tree");
        fs::create_dir(&path).unwrap();
        let empty = tree(&path);
        fs::write(path.join("one"), vec![1; 100_000]).unwrap();
        let with_one = tree(&path);
        assert!(with_one >= empty + 100_000, "{with_one}");
        fs::hard_link(path.join("one"), path.join("other")).unwrap();
        assert_eq!(tree(&path), with_one);
        assert_eq!(tree(&root.path().join("nothing")), 0);
    }
}
