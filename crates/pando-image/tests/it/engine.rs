//! In and out of an engine.

use std::collections::BTreeSet;
use std::io::Read as _;

use pando_image::archive::{Spooled, Wanted};
use pando_image::assemble::AssembleError;
use pando_image::engine::{EngineError, LoadError, SaveError, save};
use pando_image::image::Image;
use pando_model::release::Digest;

use crate::bed::{Bed, image, layer, place};

fn large(seed: u8) -> Vec<u8> {
    layer(
        &format!("file-{seed}"),
        &(0..3_000_000u32).map(|n| (n >> 9).to_le_bytes()[0] ^ seed).collect::<Vec<u8>>(),
    )
}

async fn saved(bed: &Bed, image: &Image, missing: BTreeSet<Digest>) -> (String, Vec<(Digest, Vec<u8>)>) {
    let diff_ids: Vec<Digest> = image.layers().iter().map(|layer| layer.diff_id.clone()).collect();
    let wanted = Wanted { id: image.id(), diff_ids, missing, directory: bed.path().to_owned() };
    let (sender, mut layers) = tokio::sync::mpsc::channel::<Spooled>(2);
    let taking = async {
        let mut taken = Vec::new();
        while let Some(layer) = layers.recv().await {
            let mut bytes = Vec::new();
            layer.open(0).unwrap().read_to_end(&mut bytes).unwrap();
            taken.push((layer.diff_id.clone(), bytes));
        }
        taken
    };
    let (config, taken) = tokio::join!(save(&bed.engine, wanted, sender), taking);
    (config.unwrap(), taken)
}

#[tokio::test]
async fn an_image_goes_in_and_comes_out_layer_by_layer() {
    let bed = Bed::new().await;
    let raw = [large(1), large(2), layer("small", b"one line")];
    let image = image(bed.path(), &raw);
    assert_eq!(bed.engine.find(&image, "pando/hits:v1").await.unwrap(), None);
    let loaded = bed.engine.load(&image, "pando/hits:v1", 0, place(bed.path())).await.unwrap();
    assert_eq!((&loaded.id, loaded.diff_ids.len()), (&image.id(), 3));
    assert_eq!(bed.engine.find(&image, "whatever").await.unwrap(), Some(loaded));
    let missing: BTreeSet<Digest> = [0, 2].map(|index: usize| image.layers()[index].diff_id.clone()).into();
    let (config, mut taken) = saved(&bed, &image, missing.clone()).await;
    taken.sort_unstable();
    let mut expected = [0, 2].map(|index: usize| (image.layers()[index].diff_id.clone(), raw[index].clone()));
    expected.sort_unstable();
    assert!(taken == expected);
    assert_eq!(config, image.config());
    bed.engine.untag("pando/hits:v1").await.unwrap();
    assert_eq!(bed.engine.find(&image, "pando/hits:v1").await.unwrap(), None);
    bed.engine.untag("pando/hits:v1").await.unwrap();
}

#[tokio::test]
async fn layers_that_the_engine_has_need_not_be_there() {
    let bed = Bed::new().await;
    let (base, other) = ([large(1), large(2)], [large(1), large(3)]);
    let first = image(bed.path(), &base);
    bed.engine.load(&first, "pando/base:v1", 0, place(bed.path())).await.unwrap();
    let second = image(bed.path(), &[base.clone().to_vec(), vec![layer("new", b"x")]].concat());
    let ids = |image: &Image| image.layers().iter().map(|layer| layer.diff_id.clone()).collect::<Vec<_>>();
    let common = bed.engine.layers_in_common(&ids(&second)).await.unwrap();
    assert_eq!(common, 2);
    for layer in &second.layers()[..common] {
        std::fs::remove_file(bed.path().join(layer.packed.as_str())).unwrap();
    }
    let loaded = bed.engine.load(&second, "pando/hits:v2", common, place(bed.path())).await.unwrap();
    assert_eq!(loaded.id, second.id());
    assert_eq!(bed.engine.layers_in_common(&ids(&image(bed.path(), &other))).await.unwrap(), 1);
    // Leaving out what it has not is an error, and nothing is there then.
    let third = image(bed.path(), &[large(7), large(8)]);
    let error = bed.engine.load(&third, "pando/hits:v3", 1, place(bed.path())).await.unwrap_err();
    assert!(matches!(error, LoadError::Engine(EngineError::Refused { .. })), "{error}");
    assert_eq!(bed.engine.inspect("pando/hits:v3").await.unwrap(), None);
}

#[tokio::test]
async fn a_damaged_layer_is_named_and_loads_nothing() {
    let bed = Bed::new().await;
    let image = image(bed.path(), &[large(1), large(2)]);
    let path = bed.path().join(image.layers()[1].packed.as_str());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = bed.engine.load(&image, "pando/hits:v1", 0, place(bed.path())).await.unwrap_err();
    let LoadError::Assemble(AssembleError::Damaged { layer }) = &error else { panic!("{error}") };
    assert_eq!(**layer, image.layers()[1]);
    assert_eq!(bed.engine.find(&image, "pando/hits:v1").await.unwrap(), None);
    assert_eq!(bed.engine.inspect("pando/hits:v1").await.unwrap(), None);
}

#[tokio::test]
async fn a_name_moves_and_the_image_before_goes_when_it_was_its_last() {
    let bed = Bed::new().await;
    let (one, two) = (image(bed.path(), &[large(1)]), image(bed.path(), &[large(2)]));
    bed.engine.load(&one, "pando/hits:v1", 0, place(bed.path())).await.unwrap();
    bed.engine.load(&two, "pando/hits:v2", 0, place(bed.path())).await.unwrap();
    bed.engine.tag(&format!("sha256:{}", one.id()), "pando/other:v9").await.unwrap();
    bed.engine.untag("pando/hits:v1").await.unwrap();
    assert!(bed.engine.find(&one, "").await.is_ok_and(|found| found.is_some()), "another app has it still");
    bed.engine.untag("pando/other:v9").await.unwrap();
    assert_eq!(bed.engine.find(&one, "pando/other:v9").await.unwrap(), None);
    assert!(bed.engine.find(&two, "pando/hits:v2").await.unwrap().is_some());
}

#[tokio::test]
async fn an_engine_whose_disk_is_full_says_so_and_has_nothing_of_it() {
    let disk = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=12m", "pando-test"])
        .arg(disk.path())
        .status();
    assert!(mounted.unwrap().success());
    let bed = Bed::with_data(disk.path()).await;
    let image = image(bed.path(), &(0..12).map(large).collect::<Vec<_>>());
    let error = bed.engine.load(&image, "pando/hits:v1", 0, place(bed.path())).await.unwrap_err();
    let found = bed.engine.inspect("pando/hits:v1").await;
    drop(bed);
    let unmounted = std::process::Command::new("umount").arg(disk.path()).status();
    assert!(unmounted.unwrap().success());
    assert!(matches!(error, LoadError::Full(_)), "{error}");
    assert_eq!(found.unwrap(), None);
}

#[tokio::test]
async fn an_engine_that_goes_away_is_named() {
    let mut bed = Bed::new().await;
    let image = image(bed.path(), &[large(1)]);
    bed.engine.load(&image, "pando/hits:v1", 0, place(bed.path())).await.unwrap();
    bed.end();
    let socket = bed.path().join("engine.sock").display().to_string();
    let error = bed.engine.inspect("x").await.unwrap_err();
    assert!(matches!(error, EngineError::Away { .. }) && error.to_string().contains(&socket), "{error}");
    let diff_ids: Vec<Digest> = image.layers().iter().map(|layer| layer.diff_id.clone()).collect();
    let missing = diff_ids.iter().cloned().collect();
    let wanted = Wanted { id: image.id(), diff_ids, missing, directory: bed.path().to_owned() };
    let (sender, _layers) = tokio::sync::mpsc::channel::<Spooled>(2);
    let error = save(&bed.engine, wanted, sender).await.unwrap_err();
    assert!(matches!(error, SaveError::Engine(EngineError::Away { .. })), "{error}");
}
