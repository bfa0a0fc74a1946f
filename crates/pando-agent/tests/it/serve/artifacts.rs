//! Packed releases for other servers.

use pando_api::ErrorCode;
use pando_api::client::ArtifactBody;
use pando_model::release::Digest;

use super::support::{Served, within};

const CONTENT: usize = 30_000_000;

/// A server that has one whole packed release, and half of another.
async fn served() -> (Served, Digest, Digest) {
    let served = Served::start().await;
    let fetched = served.root.path().join("releases/.fetched");
    std::fs::create_dir_all(&fetched).unwrap();
    let [whole, half] = ["a", "b"].map(|letter| Digest::new(letter.repeat(64)).unwrap());
    let content: Vec<u8> = (0..CONTENT).map(|n| n.to_le_bytes()[n % 3]).collect();
    std::fs::write(fetched.join(whole.as_str()), content).unwrap();
    std::fs::write(fetched.join(format!("{half}.part")), "half").unwrap();
    (served, whole, half)
}

async fn read(mut body: ArtifactBody) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.piece().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    bytes
}

#[tokio::test]
async fn what_is_whole_is_sent_from_any_byte_on() {
    let (served, whole, half) = served().await;
    let client = served.client();
    assert!(client.has_artifact(&whole).await.unwrap());
    let all = within(read(client.get_artifact(&whole, 0).await.unwrap())).await;
    let body = client.get_artifact(&whole, 29_999_990).await.unwrap();
    assert_eq!(body.length, Some(10));
    assert_eq!((all.len(), read(body).await), (CONTENT, all[29_999_990..].to_vec()));
    let beyond = client.get_artifact(&whole, CONTENT as u64).await.unwrap_err();
    assert_eq!(beyond.code(), Some(ErrorCode::Invalid));
    assert!(!client.has_artifact(&half).await.unwrap());
    assert_eq!(client.get_artifact(&half, 0).await.unwrap_err().code(), Some(ErrorCode::NotFound));
}

#[tokio::test]
async fn nothing_else_of_the_disk_is_reached() {
    let (served, _, half) = served().await;
    std::fs::write(served.root.path().join("releases/secret"), "secret").unwrap();
    for path in ["..%2fsecret", ".", "..", "%2fetc%2fpasswd", &format!("{half}.part"), &half.to_string()[1..]]
    {
        let request = format!(
            "GET /v1/artifacts/{path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
            super::support::TOKEN
        );
        let answer = super::gate::ask(&served, &request).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
}

#[tokio::test]
async fn only_a_few_are_sent_at_once_and_others_look_elsewhere() {
    let (served, whole, _) = served().await;
    let client = served.client();
    let mut held = Vec::new();
    for _ in 0..4 {
        // Not read: more than the sockets hold is left to send.
        held.push(client.get_artifact(&whole, 0).await.unwrap());
    }
    let error = client.get_artifact(&whole, 0).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unavailable), "{error}");
    assert!(client.has_artifact(&whole).await.is_err());
    held.pop();
    within(async {
        while client.get_artifact(&whole, 0).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}
