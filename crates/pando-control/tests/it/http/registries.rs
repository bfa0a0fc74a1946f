//! Credentials for registries by the API: sealed, listed without passwords, told to agents that pull from there alone.

use std::fs;
use std::sync::Arc;

use pando_api::auth::Scope;
use pando_api::v1::events::EventQuery;
use pando_api::v1::registries::RegistryCredentials;
use pando_api::{Client, ErrorCode};
use pando_control::shared::Published;
use pando_model::app::PullPolicy;
use pando_model::assignment::{AssignedRelease, Assignment, ReleaseImage};
use pando_model::id::{ServerId, Version};
use pando_model::registry::RegistryHost;
use pando_model::release::ReleaseNumber;
use pando_routing::SecretText;
use pando_trust::Kind;

use crate::cluster::{Cluster, app, id};

const PASSWORD: &str = "a-password-that-nobody-else-has";

fn host(text: &str) -> RegistryHost {
    text.parse().unwrap()
}

fn bot(password: &str) -> RegistryCredentials {
    RegistryCredentials { username: "bot".to_owned(), password: SecretText(password.to_owned()) }
}

/// Publishes to a server that it is to have that image.
fn assign(cluster: &Cluster, server: ServerId, reference: &str) {
    let image = ReleaseImage { reference: reference.to_owned(), pull_policy: PullPolicy::Always };
    let release = AssignedRelease {
        app: app("shop"),
        release: ReleaseNumber(1),
        artifact: None,
        image: Some(image),
        prepare: None,
        asset_path: None,
        env: [].into(),
    };
    let empty = Assignment::empty(server);
    let assignment = Assignment { version: Version::new(1, 1), releases: vec![Arc::new(release)], ..empty };
    let signed = Arc::new(cluster.shared.trust.sign(Kind::Assignment, assignment).unwrap());
    let published = Published { assignments: [(server, signed)].into(), ..Published::default() };
    cluster.shared.published.send_replace(Arc::new(published));
}

async fn hosts(client: &Client) -> Vec<String> {
    client.registries().await.unwrap().registries.into_iter().map(|one| one.host.to_string()).collect()
}

#[tokio::test]
async fn credentials_are_listed_replaced_and_removed_and_no_password_is_told() {
    let mut cluster = Cluster::on_disk().await;
    cluster.client.set_registry(&host("r.example:5000"), &bot("another")).await.unwrap();
    let set = cluster.client.set_registry(&host("r.example:5000"), &bot(PASSWORD)).await.unwrap();
    assert_eq!((set.username.as_str(), set.added_by.as_str()), ("bot", "tester"));
    cluster.client.set_registry(&host("index.docker.io"), &bot(PASSWORD)).await.unwrap();
    assert_eq!(hosts(&cluster.client).await, ["docker.io", "r.example:5000"]);
    cluster.client.remove_registry(&host("docker.io")).await.unwrap();
    let error = cluster.client.remove_registry(&host("docker.io")).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotFound));
    let list = cluster.client.registries().await.unwrap();
    let events = cluster.client.events(&EventQuery::default()).await.unwrap().events;
    assert!(
        events.iter().any(|event| event.text.contains("`bot` to the registry r.example:5000")),
        "{events:?}"
    );
    let shown = format!("{list:?}{events:?}{}", serde_json::to_string(&list).unwrap());
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert!(cluster.stop().await);
    let mut files = 0;
    for entry in fs::read_dir(cluster.directory.path()).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("store.db") {
            files += 1;
            let bytes = fs::read(entry.path()).unwrap();
            assert!(!bytes.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()), "{entry:?}");
        }
    }
    assert!(files > 0);
}

#[tokio::test]
async fn an_agent_is_told_the_password_of_a_registry_that_it_is_to_pull_from_and_of_no_other() {
    let cluster = Cluster::in_memory().await;
    let (server, other) = (cluster.server, ServerId::from_uuid(id(2)));
    let agent = cluster.client_with(Scope::Agent { server }).await;
    for registry in ["r.example:5000", "elsewhere.example"] {
        cluster.client.set_registry(&host(registry), &bot(PASSWORD)).await.unwrap();
    }
    let asked = agent.registry_credentials(server, &host("r.example:5000")).await.unwrap_err();
    assert_eq!(asked.code(), Some(ErrorCode::NotFound), "nothing is assigned to it");
    assign(&cluster, server, "r.example:5000/shop:1");
    let told = agent.registry_credentials(server, &host("r.example:5000")).await.unwrap();
    assert_eq!(told, bot(PASSWORD));
    let asked = agent.registry_credentials(server, &host("elsewhere.example")).await.unwrap_err();
    assert_eq!(asked.code(), Some(ErrorCode::NotFound));
    // Not for another server, and not for people.
    for (client, server) in [(&agent, other), (&cluster.client, server)] {
        let asked = client.registry_credentials(server, &host("r.example:5000")).await.unwrap_err();
        assert_eq!(asked.code(), Some(ErrorCode::Forbidden));
    }
}

#[tokio::test]
async fn what_no_registry_would_take_is_refused() {
    let cluster = Cluster::in_memory().await;
    let long = "x".repeat(17 * 1024);
    let user = |name: &str| RegistryCredentials { username: name.to_owned(), ..bot(PASSWORD) };
    for wrong in [user(""), user("a:b"), user("a\nb"), user(&long), bot(""), bot(&long)] {
        let error = cluster.client.set_registry(&host("r.example"), &wrong).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::Invalid));
        assert!(!error.to_string().contains(PASSWORD), "{error}");
    }
    assert!(hosts(&cluster.client).await.is_empty());
}
