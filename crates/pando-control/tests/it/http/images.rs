//! Images over the wire, layer by layer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream;
use pando_api::ErrorCode;
use pando_api::auth::Scope;
use pando_api::v1::images::{ImageQuery, LayerState, LocalImage};
use pando_image::frames::{FRAME, LEVEL, Packer};
use pando_image::hash::digest_of;
use pando_image::image::{Image, Layer, Platform};
use pando_model::release::Digest;

use crate::cluster::{Cluster, app, spec};

fn content(seed: u64) -> Vec<u8> {
    let mut random = pando_model::id::Entropy::from_seed(seed);
    (0..FRAME).flat_map(|_| (random.next_u64() & 0x0f0f_0f0f_0f0f_0f0f).to_le_bytes()).collect()
}

fn pack(raw: &[u8]) -> Vec<u8> {
    let (mut packer, mut packed) = (Packer::new(raw, LEVEL).unwrap(), Vec::new());
    while let Some((frame, _)) = packer.frame().unwrap() {
        packed.extend_from_slice(frame);
    }
    packed
}

fn pieces(bytes: &[u8]) -> Vec<std::io::Result<Bytes>> {
    bytes.chunks(64 * 1024).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

async fn sent(cluster: &Cluster, raw: &[u8]) -> Layer {
    let frames = stream::iter(pieces(&pack(raw)));
    cluster.client.put_layer(&digest_of(raw), 0, frames, Arc::default()).await.unwrap()
}

fn described(layers: &[Layer]) -> (Image, Vec<u8>) {
    let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", layer.diff_id)).collect();
    let config = serde_json::json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": ids } });
    let image = Image::new(config.to_string(), layers.to_vec()).unwrap();
    let bytes = image.encode();
    (image, bytes)
}

fn query(id: Digest, layers: Vec<Digest>) -> ImageQuery {
    let image = LocalImage { id, platform: Platform::of_machine("x86_64"), layers, bytes: 30_000_000 };
    ImageQuery { spec: Box::new(spec("hits")), image: Some(image) }
}

/// The cable is cut at nine tenths: the rest is sent, and at most a frame comes twice.
#[tokio::test]
async fn a_layer_that_broke_off_goes_on_where_it_was() {
    let cluster = Cluster::on_disk().await;
    let raw = content(1);
    let (diff_id, packed) = (digest_of(&raw), pack(&raw));
    let cut = packed.len() * 9 / 10;
    let mut broken = pieces(&packed[..cut]);
    broken.push(Err(std::io::Error::other("the cable was cut")));
    let counter = Arc::new(AtomicU64::new(0));
    cluster.client.put_layer(&diff_id, 0, stream::iter(broken), Arc::clone(&counter)).await.unwrap_err();
    assert_eq!(counter.load(Ordering::Relaxed), cut as u64);
    let mut rest;
    // Whoever was cut off may come back before the other end has noticed.
    let layer = loop {
        let LayerState::Part { bytes } = cluster.client.layer(&diff_id).await.unwrap() else {
            panic!("it is whole")
        };
        rest = pack(&raw[usize::try_from(bytes).unwrap()..]);
        match cluster.client.put_layer(&diff_id, bytes, stream::iter(pieces(&rest)), Arc::default()).await {
            Err(error) if matches!(error.code(), Some(ErrorCode::Busy | ErrorCode::Conflict)) => {
                tokio::task::yield_now().await;
            }
            other => break other.unwrap(),
        }
    };
    assert_eq!((layer.diff_id, layer.bytes), (diff_id.clone(), raw.len() as u64));
    assert!(cut + rest.len() - packed.len() <= FRAME, "{} bytes came twice", cut + rest.len() - packed.len());
    assert!(matches!(cluster.client.layer(&diff_id).await.unwrap(), LayerState::Here(_)));
}

#[tokio::test]
async fn an_image_is_sent_once_and_fetched_by_agents() {
    let cluster = Cluster::in_memory().await;
    let raw = [content(2), content(3)];
    let ids: Vec<Digest> = raw.iter().map(|raw| digest_of(raw)).collect();
    let first = sent(&cluster, &raw[0]).await;
    let (_, only_first) = described(std::slice::from_ref(&first));
    let asked = cluster.client.image(&app("hits"), &query(digest_of(b"?"), ids.clone())).await.unwrap();
    assert_eq!(asked.known, None);
    assert_eq!(asked.layers[&ids[0]], LayerState::Here(first.clone()));
    assert_eq!(asked.layers[&ids[1]], LayerState::Part { bytes: 0 });
    let made_up = Layer { diff_id: ids[1].clone(), ..first.clone() };
    let (_, too_early) = described(&[first.clone(), made_up]);
    let error = cluster.client.put_image(&digest_of(&too_early), too_early).await.unwrap_err();
    assert!(error.to_string().contains(ids[1].as_str()), "{error}");
    let second = sent(&cluster, &raw[1]).await;
    let (image, description) = described(&[first, second.clone()]);
    let digest = digest_of(&description);
    let stored = cluster.client.put_image(&digest, description.clone()).await.unwrap();
    assert_eq!((&stored.digest, stored.bytes), (&digest, 2 * raw[0].len() as u64));
    let asked = cluster.client.image(&app("hits"), &query(image.id(), ids)).await.unwrap();
    assert_eq!(asked.known, Some(digest.clone()), "nothing is left to send");
    assert!(cluster.client.put_image(&digest_of(b"x"), only_first).await.is_err());

    let agent = cluster.client_with(Scope::Agent { server: cluster.server }).await;
    for (digest, expected) in [(&digest, description), (&second.packed, pack(&raw[1]))] {
        let (mut body, mut bytes) = (agent.get_artifact(digest, 7).await.unwrap(), Vec::new());
        while let Some(piece) = body.piece().await.unwrap() {
            bytes.extend_from_slice(&piece);
        }
        assert!(bytes == expected[7..]);
    }
}

#[tokio::test]
async fn servers_that_would_run_it_are_named_and_one_that_is_away_holds_nothing_up() {
    let cluster = Cluster::in_memory().await;
    let nothing = ImageQuery { spec: Box::new(spec("hits")), image: None };
    let asked = cluster.client.image(&app("hits"), &nothing).await.unwrap();
    assert_eq!(asked.servers.len(), 1);
    assert!(asked.servers[0].platform.is_none() && asked.servers[0].trouble.is_some(), "{asked:?}");
    let error = cluster.client.image(&app("other"), &nothing).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Invalid));
    let many = query(digest_of(b"?"), vec![digest_of(b"x"); 257]);
    assert_eq!(cluster.client.image(&app("hits"), &many).await.unwrap_err().code(), Some(ErrorCode::Invalid));
}
