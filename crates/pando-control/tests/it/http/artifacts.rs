//! Packed releases over the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pando_api::ErrorCode;
use pando_api::auth::Scope;
use pando_model::release::Digest;

use crate::cluster::Cluster;

fn content() -> Vec<u8> {
    (0..3_000_000u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect()
}

async fn fetched(cluster: &Cluster, digest: &Digest, offset: u64) -> Vec<u8> {
    let agent = cluster.client_with(Scope::Agent { server: cluster.server }).await;
    let mut body = agent.get_artifact(digest, offset).await.unwrap();
    let mut bytes = Vec::new();
    let told = body.length;
    while let Some(piece) = body.piece().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(told, Some(bytes.len() as u64));
    bytes
}

#[tokio::test]
async fn a_release_is_sent_once_and_fetched_whole_or_from_where_it_broke_off() {
    let cluster = Cluster::in_memory().await;
    let content = content();
    let (path, digest) = cluster.packed(&content);
    assert!(!cluster.client.has_artifact(&digest).await.unwrap());
    let sent = Arc::new(AtomicU64::new(0));
    let stored = cluster.client.put_artifact(&digest, &path, Arc::clone(&sent)).await.unwrap();
    assert_eq!((stored.bytes, stored.existed), (content.len() as u64, false));
    assert_eq!(sent.load(Ordering::Relaxed), content.len() as u64);
    assert!(cluster.client.has_artifact(&digest).await.unwrap());
    let again = cluster.client.put_artifact(&digest, &path, Arc::default()).await.unwrap();
    assert!(again.existed);
    assert!(fetched(&cluster, &digest, 0).await == content);
    assert!(fetched(&cluster, &digest, 2_999_990).await == content[2_999_990..]);
    let beyond = cluster.client.get_artifact(&digest, 3_000_000).await.unwrap_err();
    assert_eq!(beyond.code(), Some(ErrorCode::Invalid));
}

#[tokio::test]
async fn a_release_that_is_not_what_it_claims_or_too_large_is_refused() {
    let cluster = Cluster::with(|settings| settings.max_artifact_bytes = 1_000_000).await;
    let (path, digest) = cluster.packed(b"small");
    let other = Digest::new("a".repeat(64)).unwrap();
    let error = cluster.client.put_artifact(&other, &path, Arc::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Invalid), "{error}");
    assert!(error.to_string().contains(digest.as_str()), "{error}");

    let (path, digest) = cluster.packed(&content());
    let error = cluster.client.put_artifact(&digest, &path, Arc::default()).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), (Some(ErrorCode::TooLarge), 2), "{error}");
    assert!(!cluster.client.has_artifact(&digest).await.unwrap());
    let kept = std::fs::read_dir(&cluster.shared.settings.artifact_dir).unwrap().count();
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn a_disk_that_refuses_says_so_and_leaves_nothing() {
    let file = tempfile::NamedTempFile::new().unwrap();
    // A directory that can't be made stands for every disk that will not take it.
    let inside = file.path().join("artifacts");
    let cluster = Cluster::with(|settings| settings.artifact_dir = inside).await;
    let (path, digest) = cluster.packed(b"small");
    let error = cluster.client.put_artifact(&digest, &path, Arc::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Internal));
    assert!(error.to_string().contains("artifacts"), "{error}");
}

#[tokio::test]
async fn one_release_is_sent_to_three_servers_at_once_and_others_look_elsewhere() {
    let cluster = Cluster::in_memory().await;
    // More than the sockets between the two ends hold.
    let large: Vec<u8> = content().into_iter().cycle().take(30_000_000).collect();
    let (path, digest) = cluster.packed(&large);
    cluster.client.put_artifact(&digest, &path, Arc::default()).await.unwrap();
    let (path, other) = cluster.packed(b"small");
    cluster.client.put_artifact(&other, &path, Arc::default()).await.unwrap();
    let agent = cluster.client_with(Scope::Agent { server: cluster.server }).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(agent.get_artifact(&digest, 0).await.unwrap());
    }
    let error = agent.get_artifact(&digest, 10).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unavailable), "{error}");
    agent.get_artifact(&other, 0).await.unwrap();
    held.pop();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while agent.get_artifact(&digest, 10).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the place did not come back");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
