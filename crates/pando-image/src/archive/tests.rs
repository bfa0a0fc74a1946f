//! Archives in the three layouts, written by hand: the Docker Image Specification v1.2, and the OCI Image Layout
//! Specification v1.1 with the annotations that BuildKit and containerd add.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::*;
use crate::hash::digest_of;

/// Two layers, and the configuration that names them.
struct Sample {
    layers: Vec<Vec<u8>>,
    config: String,
}

impl Sample {
    fn new() -> Self {
        let layers: Vec<Vec<u8>> =
            [("lower", 900_000), ("upper", 20)].map(|(name, size)| layer(name, size)).into();
        let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", digest_of(layer))).collect();
        let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": ids } });
        Self { layers, config: config.to_string() }
    }

    fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| digest_of(layer)).collect()
    }

    fn wanted(&self, id: Digest, missing: &[usize]) -> Wanted {
        let ids = self.diff_ids();
        let missing = missing.iter().map(|index| ids[*index].clone()).collect();
        Wanted { id, diff_ids: ids, missing, directory: std::env::temp_dir() }
    }
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        // As it is, wherever it leads.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

fn layer(name: &str, size: usize) -> Vec<u8> {
    let mut random = pando_model::id::Entropy::from_seed(size as u64);
    let bytes: Vec<u8> =
        (0..size).map(|_| b"abcdefg"[usize::try_from(random.next_u64() % 7).unwrap()]).collect();
    tar_of(&[(name, &bytes)])
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// As Docker Engine up to 24 writes it.
fn old(sample: &Sample) -> (Digest, Vec<u8>) {
    let id = digest_of(sample.config.as_bytes());
    let config_name = format!("{id}.json");
    let manifest = json!([{ "Config": config_name, "RepoTags": ["x:1"], "Layers": ["aaaa/layer.tar", "bbbb/layer.tar"] }]);
    let manifest = manifest.to_string();
    let mut tar = tar_of(&[
        ("aaaa/VERSION", b"1.0"),
        ("aaaa/json", br#"{"id":"aaaa"}"#),
        ("aaaa/layer.tar", &sample.layers[0]),
        (&config_name, sample.config.as_bytes()),
        ("bbbb/layer.tar", &sample.layers[1]),
        ("manifest.json", manifest.as_bytes()),
        ("repositories", br#"{"x":{"1":"bbbb"}}"#),
    ]);
    // A layer that is there twice is a link to the first; without the end of a tar in between.
    let end = tar.len() - 1024;
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(EntryType::Symlink);
    link.set_size(0);
    let mut more = tar::Builder::new(Vec::new());
    more.append_link(&mut link, "cccc/layer.tar", "../aaaa/layer.tar").unwrap();
    tar.splice(end.., more.into_inner().unwrap());
    (id, tar)
}

/// As Docker Engine from 25 on writes it.
fn new(sample: &Sample) -> (Digest, Vec<u8>) {
    let id = digest_of(sample.config.as_bytes());
    let blob = |digest: &Digest| format!("blobs/sha256/{digest}");
    let ids = sample.diff_ids();
    let manifest =
        json!([{ "Config": blob(&id), "RepoTags": null, "Layers": [blob(&ids[0]), blob(&ids[1])] }]);
    let manifest = manifest.to_string();
    let tar = tar_of(&[
        (&blob(&ids[1]), &sample.layers[1]),
        (&blob(&ids[0]), &sample.layers[0]),
        (&blob(&id), sample.config.as_bytes()),
        ("index.json", br#"{"schemaVersion":2,"manifests":[]}"#),
        ("manifest.json", manifest.as_bytes()),
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
    ]);
    (id, tar)
}

/// As the containerd image store writes it: the image is called by its index, the layers are compressed, there is an attestation
/// and a platform whose layers are not there. One layer is zstd.
fn oci(sample: &Sample) -> (Digest, Vec<u8>) {
    let packed = [gzipped(&sample.layers[0]), zstd::bulk::compress(&sample.layers[1], 3).unwrap()];
    let descriptor =
        |bytes: &[u8]| json!({ "digest": format!("sha256:{}", digest_of(bytes)), "size": bytes.len() });
    let manifest = |config: &str, layers: Vec<serde_json::Value>| {
        json!({ "schemaVersion": 2, "config": descriptor(config.as_bytes()), "layers": layers }).to_string()
    };
    let ours = manifest(&sample.config, packed.iter().map(|bytes| descriptor(bytes)).collect());
    let others_config =
        json!({ "architecture": "arm64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] } });
    let others_config = others_config.to_string();
    let others = manifest(&others_config, vec![descriptor(b"elsewhere")]);
    let claim =
        json!({ "architecture": "unknown", "os": "unknown", "rootfs": { "type": "layers", "diff_ids": [] } });
    let claim = claim.to_string();
    let attestation = manifest(&claim, vec![descriptor(b"{}")]);
    let index = json!({ "schemaVersion": 2, "manifests": [
        descriptor(others.as_bytes()), descriptor(attestation.as_bytes()), descriptor(ours.as_bytes()),
    ] })
    .to_string();
    let top = json!({ "schemaVersion": 2, "manifests": [descriptor(index.as_bytes())] }).to_string();
    let documents = [&sample.config, &ours, &others, &others_config, &claim, &attestation, &index]
        .map(|text| text.as_bytes());
    let blobs: Vec<(String, &[u8])> = documents
        .into_iter()
        .chain(packed.iter().map(Vec::as_slice))
        .map(|bytes| (format!("blobs/sha256/{}", digest_of(bytes)), bytes))
        .collect();
    let mut files: Vec<(&str, &[u8])> = blobs.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    files.sort_unstable_by_key(|(name, _)| *name);
    files.push(("index.json", top.as_bytes()));
    (digest_of(index.as_bytes()), tar_of(&files))
}

fn check(name: &str, layout: fn(&Sample) -> (Digest, Vec<u8>), missing: &[usize]) {
    let sample = Sample::new();
    let (id, archive) = layout(&sample);
    let mut taken = BTreeSet::new();
    let config = read(archive.as_slice(), &sample.wanted(id, missing), |layer| {
        let mut bytes = Vec::new();
        layer.open(0).unwrap().read_to_end(&mut bytes).unwrap();
        let index = sample.layers.iter().position(|known| *known == bytes).unwrap();
        assert_eq!((layer.bytes, &layer.diff_id), (bytes.len() as u64, &sample.diff_ids()[index]));
        assert!(taken.insert(index), "each comes once");
        true
    });
    let config = config.unwrap_or_else(|error| panic!("{name} {missing:?}: {error}"));
    assert_eq!(config, sample.config, "{name} {missing:?}");
    assert_eq!(taken, missing.iter().copied().collect());
}

#[test]
fn layers_and_configuration_are_found_in_every_layout() {
    for missing in [&[][..], &[0], &[1], &[0, 1]] {
        for (name, layout) in [("old", old as fn(&Sample) -> _), ("new", new), ("oci", oci)] {
            check(name, layout, missing);
        }
    }
}

#[test]
fn what_is_not_there_is_said() {
    let sample = Sample::new();
    let (id, archive) = new(&sample);
    let other = digest_of(b"other");
    let wanted = Wanted { missing: [other.clone()].into(), ..sample.wanted(id.clone(), &[]) };
    assert!(
        matches!(read(archive.as_slice(), &wanted, |_| true), Err(ArchiveError::Lacks(lacks)) if lacks == other)
    );
    let wanted = Wanted { diff_ids: vec![other.clone()], ..sample.wanted(id.clone(), &[]) };
    assert!(matches!(read(archive.as_slice(), &wanted, |_| true), Err(ArchiveError::LacksConfig(_))));
    let cut = &archive[..archive.len() / 2];
    let error = read(cut, &sample.wanted(id.clone(), &[0, 1]), |_| true).unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged(_) | ArchiveError::Lacks(_)), "{error}");
    let stopped = read(archive.as_slice(), &sample.wanted(id, &[0, 1]), |_| false);
    assert!(matches!(stopped, Err(ArchiveError::Stopped)));
}

#[test]
fn a_name_that_lies_leads_to_an_error_and_no_wrong_layer() {
    let sample = Sample::new();
    let (id, ids) = (digest_of(sample.config.as_bytes()), sample.diff_ids());
    // The upper layer's bytes under the lower one's name.
    let archive = tar_of(&[
        (&format!("blobs/sha256/{}", ids[0]), &sample.layers[1]),
        ("../../../etc/passwd", &sample.layers[1]),
        (&format!("blobs/sha256/{id}"), sample.config.as_bytes()),
    ]);
    let error = read(archive.as_slice(), &sample.wanted(id, &[0]), |_| true).unwrap_err();
    assert!(matches!(error, ArchiveError::Lacks(_)), "{error}");
}

#[test]
fn no_archive_can_fill_the_memory() {
    let sample = Sample::new();
    let documents: Vec<(String, String)> = (0..10)
        .map(|n| (format!("{n}.json"), format!("[\"{}\"]", n.to_string().repeat(4_000_000))))
        .collect();
    let files: Vec<(&str, &[u8])> =
        documents.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let archive = tar_of(&files);
    let id = digest_of(sample.config.as_bytes());
    let error = read(archive.as_slice(), &sample.wanted(id, &[]), |_| true).unwrap_err();
    assert!(matches!(error, ArchiveError::Documents(_)), "{error}");
}
