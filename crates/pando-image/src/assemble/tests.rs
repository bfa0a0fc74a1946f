use std::collections::BTreeMap;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::frames::{LEVEL, Packer};
use crate::hash::digest_of;

/// An image of two layers, the lower one twice, packed in a directory.
fn sample() -> (TempDir, Image, [Vec<u8>; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let raw = [vec![7; 3 << 20], vec![9; 1000]];
    let layers = raw.each_ref().map(|raw| pack(directory.path(), raw));
    let ids: Vec<String> = [0, 1, 0].map(|index: usize| format!("sha256:{}", layers[index].diff_id)).into();
    let config = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": ids } }).to_string();
    let [lower, upper] = layers;
    let image = Image::new(config, vec![lower.clone(), upper, lower]).unwrap();
    (directory, image, raw)
}

fn pack(directory: &Path, raw: &[u8]) -> Layer {
    let (mut packer, mut packed) = (Packer::new(raw, LEVEL).unwrap(), Vec::new());
    while let Some((frame, _)) = packer.frame().unwrap() {
        packed.extend_from_slice(frame);
    }
    let digest = digest_of(&packed);
    std::fs::write(directory.join(digest.as_str()), &packed).unwrap();
    Layer {
        diff_id: digest_of(raw),
        bytes: raw.len() as u64,
        packed: digest,
        packed_bytes: packed.len() as u64,
    }
}

fn written(
    image: &Image,
    left_out: usize,
    directory: &Path,
) -> Result<BTreeMap<String, Vec<u8>>, AssembleError> {
    let mut out = Vec::new();
    let assembly = Assembly { image, tag: Some("pando/hits:v7"), left_out };
    assembly.write(&mut out, |layer| directory.join(layer.packed.as_str()))?;
    let mut archive = tar::Archive::new(out.as_slice());
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    let (mut map, mut count) = (BTreeMap::new(), 0);
    files.for_each(|(name, bytes)| {
        count += 1;
        map.insert(name, bytes);
    });
    assert_eq!(map.len(), count, "no name is there twice");
    Ok(map)
}

#[test]
fn each_layer_is_written_once_and_what_the_engine_has_is_left_out() {
    let (directory, image, raw) = sample();
    let names: Vec<String> = image.layers().iter().map(name).collect();
    for (left_out, there) in [(0, [true, true]), (1, [false, true]), (2, [false, false]), (9, [false, false])]
    {
        let files = written(&image, left_out, directory.path()).unwrap();
        for index in [0, 1] {
            assert_eq!(
                files.get(&names[index]).cloned(),
                there[index].then(|| raw[index].clone()),
                "{left_out}"
            );
        }
        let config = format!("{}.json", image.id());
        assert_eq!(files[&config], image.config().as_bytes());
        let listed: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(listed, json!([{ "Config": config, "RepoTags": ["pando/hits:v7"], "Layers": names }]));
    }
}

#[test]
fn a_damaged_layer_ends_it_and_is_named() {
    let (directory, image, _) = sample();
    let path = directory.path().join(image.layers()[0].packed.as_str());
    let good = std::fs::read(&path).unwrap();
    let flipped: Vec<u8> =
        good.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == good.len() / 2)).collect();
    let longer = [good.as_slice(), &zstd::bulk::compress(b"more", 1).unwrap()].concat();
    let other = zstd::bulk::compress(&vec![8; 3 << 20], 1).unwrap();
    for damage in [&good[..good.len() / 2], &[], &flipped, &longer, &other] {
        std::fs::write(&path, damage).unwrap();
        let error = written(&image, 0, directory.path()).unwrap_err();
        assert!(
            matches!(&error, AssembleError::Damaged { layer } if **layer == image.layers()[0]),
            "{error}"
        );
    }
    std::fs::remove_file(&path).unwrap();
    let error = written(&image, 0, directory.path()).unwrap_err();
    assert!(error.to_string().contains(image.layers()[0].diff_id.as_str()), "{error}");
    assert!(written(&image, 2, directory.path()).is_ok(), "what is left out is not looked at");
}

#[test]
fn whoever_stops_taking_is_not_blamed_on_a_layer() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (directory, image, _) = sample();
    let assembly = Assembly { image: &image, tag: None, left_out: 0 };
    let error = assembly.write(Gone, |layer| directory.path().join(layer.packed.as_str())).unwrap_err();
    assert!(matches!(error, AssembleError::Write(_)), "{error}");
}
