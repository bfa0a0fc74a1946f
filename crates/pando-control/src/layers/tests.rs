use std::sync::Arc;

use futures_util::stream;
use pando_image::frames::{FRAME, LEVEL, Packer};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::artifacts::{Artifacts, UNUSED_FOR};

struct Bed {
    directory: TempDir,
    layers: Layers,
    turns: Arc<Turns>,
}

impl Bed {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let layers = Layers { stall: Duration::from_millis(50), ..Layers::new(directory.path()) };
        Self { directory, layers, turns: Arc::default() }
    }

    async fn send(&self, diff_id: &Digest, from: u64, bytes: &[u8]) -> Result<Layer, LayerError> {
        let turn = self.turns.take(diff_id).unwrap();
        let pieces: Vec<_> =
            bytes.chunks(10_000).map(|piece| Ok::<_, io::Error>(Bytes::copy_from_slice(piece))).collect();
        self.layers.receive(&turn, from, stream::iter(pieces)).await
    }

    fn names(&self) -> BTreeSet<String> {
        let files = std::fs::read_dir(self.directory.path()).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn have(&self, diff_id: &Digest) -> u64 {
        match self.layers.state(diff_id).unwrap() {
            LayerState::Part { bytes } => bytes,
            LayerState::Here(layer) => panic!("{layer:?} is whole"),
        }
    }
}

fn content(seed: u64) -> Vec<u8> {
    let mut random = pando_model::id::Entropy::from_seed(seed);
    (0..3 * FRAME / 8 + 5).flat_map(|_| (random.next_u64() & 0x0f0f_0f0f_0f0f_0f0f).to_le_bytes()).collect()
}

fn pack(raw: &[u8], level: i32) -> Vec<u8> {
    let (mut packer, mut packed) = (Packer::new(raw, level).unwrap(), Vec::new());
    while let Some((frame, _)) = packer.frame().unwrap() {
        packed.extend_from_slice(frame);
    }
    packed
}

/// The description of an image of these layers.
fn description(layers: &[Layer]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", layer.diff_id)).collect();
    let config = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": ids } }).to_string();
    Image::new(config, layers.to_vec()).unwrap().encode()
}

#[tokio::test]
async fn a_layer_is_kept_once_under_both_its_digests() {
    let bed = Bed::new();
    let raw = content(1);
    let (diff_id, packed) = (digest_of(&raw), pack(&raw, LEVEL));
    assert_eq!(bed.have(&diff_id), 0);
    let layer = bed.send(&diff_id, 0, &packed).await.unwrap();
    let expected = Layer {
        diff_id: diff_id.clone(),
        bytes: raw.len() as u64,
        packed: digest_of(&packed),
        packed_bytes: packed.len() as u64,
    };
    assert_eq!(layer, expected);
    assert_eq!(bed.layers.state(&diff_id).unwrap(), LayerState::Here(layer.clone()));
    assert_eq!(std::fs::read(bed.layers.packed(&layer.packed)).unwrap(), packed);
    // Packed otherwise it is the same layer, and what came first stays.
    assert_eq!(bed.send(&diff_id, 0, &pack(&raw, 1)).await.unwrap(), layer);
    assert_eq!(bed.names().len(), 2);
}

#[tokio::test]
async fn what_broke_off_goes_on_and_at_most_one_frame_comes_twice() {
    let bed = Bed::new();
    let raw = content(2);
    let (diff_id, packed) = (digest_of(&raw), pack(&raw, LEVEL));
    let cut = packed.len() * 9 / 10;
    let error = bed.send(&diff_id, 0, &packed[..cut]).await.unwrap_err();
    assert!(matches!(error, LayerError::BrokeOff(_)), "{error}");
    let have = bed.have(&diff_id);
    assert!(have >= (raw.len() * 9 / 10 - FRAME) as u64, "{have}");
    let error = bed.send(&diff_id, 0, &packed).await.unwrap_err();
    assert!(matches!(error, LayerError::Elsewhere { from: 0, have: there } if there == have), "{error}");
    // By another program, at another level.
    let rest = pack(&raw[usize::try_from(have).unwrap()..], 1);
    let layer = bed.send(&diff_id, have, &rest).await.unwrap();
    assert_eq!((layer.diff_id, layer.bytes), (diff_id, raw.len() as u64));
}

#[tokio::test]
async fn what_is_not_the_layer_leaves_nothing() {
    let bed = Bed::new();
    let (raw, other) = (content(3), content(4));
    let diff_id = digest_of(&raw);
    let error = bed.send(&diff_id, 0, &pack(&other, LEVEL)).await.unwrap_err();
    assert!(matches!(&error, LayerError::Digest { found, .. } if *found == digest_of(&other)), "{error}");
    let error = bed.send(&diff_id, 0, b"no frame at all, but some text").await.unwrap_err();
    assert!(matches!(error, LayerError::Frames(_)), "{error}");
    assert!(bed.names().is_empty(), "{:?}", bed.names());
}

#[tokio::test]
async fn an_upload_that_stands_still_is_given_up_and_goes_on_later() {
    let bed = Bed::new();
    let raw = content(5);
    let (diff_id, packed) = (digest_of(&raw), pack(&raw, LEVEL));
    let half = Bytes::copy_from_slice(&packed[..packed.len() / 2]);
    let silent = stream::iter([Ok::<_, io::Error>(half)]).chain(stream::pending());
    let turn = bed.turns.take(&diff_id).unwrap();
    let error = bed.layers.receive(&turn, 0, Box::pin(silent)).await.unwrap_err();
    assert!(matches!(error, LayerError::Stalled { .. }), "{error}");
    assert!(bed.have(&diff_id) > 0);
}

#[tokio::test]
async fn an_image_is_known_while_all_of_it_is_here() {
    let bed = Bed::new();
    let raw = [content(6), content(7)];
    let mut layers = Vec::new();
    for raw in &raw {
        layers.push(bed.send(&digest_of(raw), 0, &pack(raw, LEVEL)).await.unwrap());
    }
    let described = description(&layers);
    let digest = digest_of(&described);
    let error = bed.layers.describe(&digest_of(b"other"), &described).unwrap_err();
    assert!(matches!(error, LayerError::Digest { .. }), "{error}");
    let image = bed.layers.describe(&digest, &described).unwrap();
    assert_eq!(bed.layers.known(&image.id()), Some(digest.clone()));
    assert_eq!(bed.layers.known(&digest_of(b"other")), None);
    std::fs::remove_file(bed.layers.packed(&layers[1].packed)).unwrap();
    assert_eq!(bed.layers.known(&image.id()), None);
    let error = bed.layers.describe(&digest, &described).unwrap_err();
    assert!(matches!(&error, LayerError::Lacks(lacks) if *lacks == layers[1].diff_id), "{error}");
    assert_eq!(bed.have(&layers[1].diff_id), 0, "a record without its file is no layer");
}

#[tokio::test]
async fn layers_that_no_kept_release_needs_are_swept() {
    let bed = Bed::new();
    let raw = [content(8), content(9), content(10)];
    let mut layers = Vec::new();
    for raw in &raw {
        layers.push(bed.send(&digest_of(raw), 0, &pack(raw, LEVEL)).await.unwrap());
    }
    let broken = content(11);
    let packed = pack(&broken, LEVEL);
    bed.send(&digest_of(&broken), 0, &packed[..packed.len() / 2]).await.unwrap_err();
    let (kept, gone) = (description(&layers[..2]), description(&layers[1..]));
    let digest = digest_of(&kept);
    let image = bed.layers.describe(&digest, &kept).unwrap();
    bed.layers.describe(&digest_of(&gone), &gone).unwrap();
    let artifacts = Artifacts::new(bed.directory.path());
    assert_eq!(artifacts.open(&digest).await.unwrap().length, kept.len() as u64);
    assert_eq!(artifacts.open(&layers[0].packed).await.unwrap().length, layers[0].packed_bytes);
    let needed = BTreeSet::from([digest]);
    assert_eq!(artifacts.sweep(&needed, SystemTime::now()).unwrap(), 0);
    let later = SystemTime::now() + UNUSED_FOR + Duration::from_secs(1);
    // The third layer's two files, what came of the fourth, and the other image's description and link.
    assert_eq!(artifacts.sweep(&needed, later).unwrap(), 5);
    assert!(bed.layers.known(&image.id()).is_some());
    assert_eq!(bed.have(&layers[2].diff_id), 0);
}

/// On a file system of 3 MB of its own, where this machine lets us have one.
#[tokio::test]
async fn the_last_tenth_of_a_disk_is_not_for_layers() {
    let bed = Bed::new();
    let mut mount = std::process::Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=3m", "pando-test"]).arg(bed.directory.path());
    if !mount.status().is_ok_and(|status| status.success()) {
        return;
    }
    let others = bed.directory.path().join("others");
    std::fs::write(&others, vec![1; 2_900_000]).unwrap();
    let small = b"a small layer".to_vec();
    let refused = bed.send(&digest_of(&small), 0, &pack(&small, LEVEL)).await;
    std::fs::remove_file(&others).unwrap();
    let taken = bed.send(&digest_of(&small), 0, &pack(&small, LEVEL)).await;
    let large = content(12);
    let full = bed.send(&digest_of(&large), 0, &pack(&large, LEVEL)).await;
    let also = content(13);
    let fuller = bed.send(&digest_of(&also), 0, &pack(&also, LEVEL)).await;
    let names = bed.names();
    let unmounted = std::process::Command::new("umount").arg("--lazy").arg(bed.directory.path()).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert!(matches!(refused, Err(LayerError::NoRoom(_))), "{refused:?}");
    assert!(taken.is_ok(), "{taken:?}");
    assert!(full.is_ok() && matches!(fuller, Err(LayerError::Full { .. })), "{full:?} {fuller:?}");
    assert_eq!(names.len(), 4, "two layers and their records: {names:?}");
}
