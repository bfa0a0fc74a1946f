//! Servers that join: once for each token, and certified for what they are.

use std::net::SocketAddr;

use pando_api::auth::{Bearer, Scope};
use pando_api::client::Client;
use pando_api::v1::events::EventQuery;
use pando_api::v1::join::{JoinAnswer, JoinRequest, JoinTokenCreated, JoinTokenRequest};
use pando_api::v1::tokens::TokenRequest;
use pando_api::{ClientError, ErrorCode};
use pando_control::store::{Key, Txn};
use pando_model::name::{RoleName, ServerName};
use pando_model::resources::Capacity;
use pando_model::time::Millis;
use pando_trust::{JoinSecret, JoinWord, PendingIdentity, Subject};

use crate::cluster::Cluster;

fn name(text: &str) -> ServerName {
    ServerName::new(text).unwrap()
}

fn wanted() -> JoinTokenRequest {
    JoinTokenRequest {
        roles: [RoleName::web()].into(),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        ..JoinTokenRequest::default()
    }
}

/// What a server says of itself that is the `n`th of the network.
fn asking(key: &PendingIdentity, n: u8) -> JoinRequest {
    JoinRequest {
        request: key.request().unwrap(),
        name: name(&format!("server-{n}")),
        private_address: [10, 0, 0, n].into(),
        public_address: Some([203, 0, 113, n].into()),
        agent_address: SocketAddr::from(([10, 0, 0, n], 7421)),
        capacity: Capacity { cpu_millis: 2000, memory_bytes: 4_000_000_000 },
        version: "0.1.0".to_owned(),
    }
}

async fn token(cluster: &Cluster) -> JoinTokenCreated {
    cluster.client.create_join_token(&wanted()).await.unwrap()
}

/// As a joining server does it: all that it knows is the word.
async fn join(
    cluster: &Cluster,
    token: &JoinTokenCreated,
    request: &JoinRequest,
) -> Result<JoinAnswer, ClientError> {
    let word = JoinWord { url: cluster.url().parse().unwrap(), secret: token.secret.parse().unwrap() };
    let word: JoinWord = word.to_string().parse().unwrap();
    let bearer = Bearer::new(word.secret.reveal()).unwrap();
    Client::new(&word.url.to_string(), Some(bearer)).unwrap().join(request).await
}

#[tokio::test]
async fn a_server_joins_with_a_word_and_is_a_member_then() {
    let (cluster, _) = Cluster::secured().await;
    let token = token(&cluster).await;
    assert_eq!(token.fingerprint, cluster.shared.trust.fingerprint());
    assert!(!format!("{token:?}").contains(&token.secret));
    let key = PendingIdentity::make().unwrap();
    let answer = join(&cluster, &token, &asking(&key, 2)).await.unwrap();
    let identity = key.certified(&answer.certificate, answer.authority, cluster.now()).unwrap();
    assert_eq!(identity.subject(), Subject::Server(answer.server));

    let server = cluster.state().await.world.servers[&answer.server].clone();
    assert_eq!((server.name, server.roles), (name("server-2"), [RoleName::web()].into()));
    assert_eq!(server.labels["zone"], "a");
    // Nobody else is waited for: the API is open to the cluster's servers alone.
    assert_eq!(cluster.state().await.world.settings.joining_until, None);
    let listed = cluster.client.tokens().await.unwrap().tokens;
    assert!(listed.iter().all(|token| token.used == (token.scope == Scope::Join)), "{listed:?}");
    assert_eq!(server.agent_address, SocketAddr::from(([10, 0, 0, 2], 7421)));
    let have = Default::default();
    cluster.member(identity).target(answer.server, &have).await.unwrap();
    let events = cluster.client.events(&EventQuery::default()).await.unwrap().events;
    let texts: Vec<&str> = events.iter().map(|event| event.text.as_str()).collect();
    assert!(
        texts.iter().any(|text| text.starts_with("a token to join with the role web was made")),
        "{texts:?}"
    );
    assert!(texts.contains(&"server-2 (10.0.0.2, pando 0.1.0) joined with the role web"), "{texts:?}");
}

#[tokio::test]
async fn a_token_lets_one_key_in_and_answers_that_one_again() {
    let (cluster, _) = Cluster::secured().await;
    let token = token(&cluster).await;
    let (key, other) = (PendingIdentity::make().unwrap(), PendingIdentity::make().unwrap());
    let first = join(&cluster, &token, &asking(&key, 2)).await.unwrap();
    // Its answer was lost: the same key asks again, after a crash too.
    let key = PendingIdentity::from_key_pem(&key.key_pem()).unwrap();
    let again = join(&cluster, &token, &asking(&key, 2)).await.unwrap();
    assert_eq!((again.server, &again.name), (first.server, &first.name));
    key.certified(&again.certificate, again.authority, cluster.now()).unwrap();
    let error = join(&cluster, &token, &asking(&other, 3)).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Forbidden));
    assert!(error.to_string().contains("used already, by server-2"), "{error}");
    assert_eq!(cluster.state().await.world.servers.len(), 2);

    cluster.write(Txn::new().delete(Key::ServerSpec(first.server))).await;
    let key = PendingIdentity::make().unwrap();
    let error = join(&cluster, &token, &asking(&key, 2)).await.unwrap_err();
    assert!(error.to_string().contains("removed since"), "{error}");
}

#[tokio::test]
async fn a_token_is_good_for_fifteen_minutes_and_while_nobody_removes_it() {
    let (cluster, clock) = Cluster::secured().await;
    let (late, removed) = (token(&cluster).await, token(&cluster).await);
    assert_eq!(late.expires_at, cluster.now() + Millis::from_secs(900));
    assert_eq!(cluster.state().await.world.settings.joining_until, Some(late.expires_at));
    let listed = cluster.client.tokens().await.unwrap().tokens;
    assert_eq!(listed.iter().filter(|token| token.scope == Scope::Join).count(), 2);
    cluster.client.remove_token(&removed.id).await.unwrap();
    assert_eq!(cluster.state().await.world.settings.joining_until, Some(late.expires_at), "one is left");
    let key = PendingIdentity::make().unwrap();
    let error = join(&cluster, &removed, &asking(&key, 2)).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthorized));
    clock.advance(900_000);
    let error = join(&cluster, &late, &asking(&key, 2)).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthorized));
    assert_eq!(cluster.state().await.world.servers.len(), 1);
}

#[tokio::test]
async fn names_and_addresses_are_one_servers_each() {
    let (cluster, _) = Cluster::secured().await;
    let key = PendingIdentity::make().unwrap();
    join(&cluster, &token(&cluster).await, &asking(&key, 2)).await.unwrap();
    let token = token(&cluster).await;
    let third = || asking(&PendingIdentity::make().unwrap(), 3);
    for (request, words) in [
        (
            JoinRequest { name: name("server-2"), ..third() },
            "there is a server `server-2` already, at 10.0.0.2",
        ),
        (JoinRequest { private_address: [10, 0, 0, 2].into(), ..third() }, "is the address of `server-2`"),
        (
            JoinRequest { agent_address: SocketAddr::from(([10, 0, 0, 2], 7421)), ..third() },
            "10.0.0.2:7421 is the address of `server-2`",
        ),
    ] {
        let error = join(&cluster, &token, &request).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::Conflict), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    // None of them used it up.
    join(&cluster, &token, &third()).await.unwrap();
}

#[tokio::test]
async fn two_that_come_at_once_with_one_token_or_one_name_are_one_server() {
    let (cluster, _) = Cluster::secured().await;
    let token = token(&cluster).await;
    let keys: Vec<PendingIdentity> = (0..6).map(|_| PendingIdentity::make().unwrap()).collect();
    let asked = keys.iter().zip(2..).map(|(key, n)| {
        let request = asking(key, n);
        let (cluster, token) = (&cluster, &token);
        async move { join(cluster, token, &request).await }
    });
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert_eq!(cluster.state().await.world.servers.len(), 2);

    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(self::token(&cluster).await);
    }
    let asked = tokens.iter().zip(20..).map(|(token, n)| {
        let request = JoinRequest { name: name("same"), ..asking(&PendingIdentity::make().unwrap(), n) };
        let cluster = &cluster;
        async move { join(cluster, token, &request).await }
    });
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert_eq!(cluster.state().await.world.servers.len(), 3);
}

#[tokio::test]
async fn a_secret_is_made_for_joining_alone_and_told_once() {
    let (cluster, _) = Cluster::secured().await;
    let request = TokenRequest { name: "x".to_owned(), scope: Scope::Join, expires_in: None };
    let error = cluster.client.create_token(&request).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Invalid), "{error}");
    let token = token(&cluster).await;
    let digits = token.secret.strip_prefix("pando_join_").unwrap();
    let range = pando_control::store::Range::prefix("/");
    for entry in cluster.shared.store.list(range).await.unwrap().1 {
        let held = String::from_utf8_lossy(&entry.value);
        assert!(!held.contains(digits) && !entry.key.contains(digits), "{}", entry.key);
    }
    let guessed = JoinTokenCreated { secret: JoinSecret::make().unwrap().reveal(), ..token };
    let key = PendingIdentity::make().unwrap();
    let error = join(&cluster, &guessed, &asking(&key, 2)).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthorized));
}

#[tokio::test]
async fn what_no_server_can_be_is_refused_when_the_token_is_made() {
    let (cluster, _) = Cluster::secured().await;
    let control = RoleName::new("control").unwrap();
    for (request, code) in [
        (JoinTokenRequest { expires_in: Some(Millis::from_secs(901)), ..wanted() }, ErrorCode::Invalid),
        (JoinTokenRequest { expires_in: Some(Millis::ZERO), ..wanted() }, ErrorCode::Invalid),
        (JoinTokenRequest { roles: [control].into(), ..wanted() }, ErrorCode::Invalid),
        (JoinTokenRequest { name: Some(name("main")), ..wanted() }, ErrorCode::Conflict),
    ] {
        let error = cluster.client.create_join_token(&request).await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{request:?}: {error}");
    }
}
