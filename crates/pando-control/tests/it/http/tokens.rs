//! Tokens by the API: shown once, listed without their text, gone when removed.

use pando_api::auth::{Bearer, Scope};
use pando_api::v1::events::EventQuery;
use pando_api::v1::tokens::TokenRequest;
use pando_api::{Client, ErrorCode};
use pando_model::time::Millis;

use crate::cluster::{Cluster, app};

fn wanted(name: &str, scope: Scope) -> TokenRequest {
    TokenRequest { name: name.to_owned(), scope, expires_in: Some(Millis::from_secs(3600)) }
}

#[tokio::test]
async fn a_token_lets_in_until_it_is_removed() {
    let cluster = Cluster::on_disk().await;
    let created = cluster.client.create_token(&wanted("ci", Scope::Read)).await.unwrap();
    let theirs = Client::new(&cluster.url(), Some(Bearer::new(&created.token).unwrap())).unwrap();
    theirs.apps().await.unwrap();
    let listed = cluster.client.tokens().await.unwrap().tokens;
    assert!(listed.contains(&created.info));
    assert!(created.info.expires_at > Some(cluster.now()));
    cluster.client.remove_token(&created.info.id).await.unwrap();
    let error = theirs.apps().await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), (Some(ErrorCode::Unauthorized), 1));
    let again = cluster.client.remove_token(&created.info.id).await.unwrap_err();
    assert_eq!(again.code(), Some(ErrorCode::NotFound));

    let events = cluster.client.events(&EventQuery::default()).await.unwrap().events;
    let texts: Vec<&str> = events.iter().map(|event| event.text.as_str()).collect();
    assert_eq!(
        texts,
        ["token `ci` (read) was made, says tester", "token `ci` (read) was removed, says tester"]
    );
    assert!(!format!("{listed:?}{events:?}{created:?}").contains(&created.token));
}

#[tokio::test]
async fn foolish_tokens_are_refused() {
    let cluster = Cluster::in_memory().await;
    let no_time = TokenRequest { expires_in: Some(Millis(0)), ..wanted("x", Scope::Read) };
    for request in [
        wanted("", Scope::Read),
        wanted("a\nb", Scope::Read),
        wanted(&"x".repeat(101), Scope::Read),
        wanted("x", Scope::Deploy { apps: vec![] }),
        no_time,
    ] {
        let error = cluster.client.create_token(&request).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::Invalid), "{request:?}");
    }
    let last = cluster.client.tokens().await.unwrap().tokens.remove(0);
    let error = cluster.client.remove_token(&last.id).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), (Some(ErrorCode::Harmful), 4));
}

#[tokio::test]
async fn a_deploy_token_names_its_apps_in_refusals() {
    let cluster = Cluster::in_memory().await;
    let client = cluster.client_with(Scope::Deploy { apps: vec![app("hits")] }).await;
    let error = client.app(&app("shop")).await.unwrap_err();
    assert_eq!(error.to_string(), "the token `tester` (deploy hits) does not allow this");
}
