//! Certificates by the API: judged, sealed, joined to the table for agents alone, gone when removed.

use std::fs;
use std::time::{Duration, Instant};

use pando_api::auth::Scope;
use pando_api::v1::agents::TargetQuery;
use pando_api::v1::certificates::{CertificateImport, CertificateRemoveQuery};
use pando_api::v1::events::EventQuery;
use pando_api::{Client, ErrorCode};
use pando_control::certificates::keys::keep_fresh;
use pando_control::reconcile::Reconciler;
use pando_model::id::Version;
use pando_routing::{SecretText, Secrets, Table};
use pando_trust::Kind;
use tokio::sync::mpsc;

use crate::cluster::{Cluster, PATIENCE, spec};

/// A certificate for these names that nobody else vouches for.
fn made(names: &[&str]) -> CertificateImport {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    CertificateImport {
        chain_pem: made.cert.pem(),
        key_pem: SecretText(made.signing_key.serialize_pem()),
        domains: Vec::new(),
        force: false,
    }
}

fn lines_of(pem: &str) -> impl Iterator<Item = &str> {
    pem.lines().filter(|line| !line.starts_with("-----") && line.len() > 16)
}

async fn names(client: &Client) -> Vec<(String, Vec<String>)> {
    let list = client.certificates().await.unwrap();
    list.certificates.into_iter().map(|one| (one.name, one.domains)).collect()
}

/// As housekeeping does at the start.
async fn make_keys(cluster: &Cluster) {
    let made = keep_fresh(&*cluster.shared.store, cluster.shared.trust.vault(), cluster.now()).await;
    assert!(made.unwrap());
}

/// The loop, so that tables are published.
fn start_loop(cluster: &mut Cluster) {
    let (_, none) = mpsc::channel(1);
    let reports = std::mem::replace(&mut cluster.reports, none);
    let reconciler = Reconciler::new(cluster.shared.clone(), reports, 7);
    tokio::spawn(reconciler.run(cluster.shared.shutdown.clone()));
}

/// The first table beyond `have` that pleases, as the agent of an entry point gets it, with the secret part that came with it.
async fn table(cluster: &Cluster, have: Version, pleases: impl Fn(&Table) -> bool) -> Table {
    let agent = cluster.client_with(Scope::Agent { server: cluster.server }).await;
    let (until, mut have) = (Instant::now() + PATIENCE, have);
    let key = cluster.shared.trust.anchor().signing_key();
    let (mut secrets, mut held) = (Secrets::default(), None::<Table>);
    loop {
        let query = TargetQuery {
            table_epoch: have.epoch,
            table_revision: have.revision,
            // Whatever the assignment is: it is not waited for.
            assignment_epoch: u64::MAX,
            secrets: secrets.mark.clone(),
            wait_millis: 1000,
            ..TargetQuery::default()
        };
        let target = agent.target(cluster.server, &query).await.unwrap();
        if let Some(bytes) = target.secrets {
            secrets = bytes.verify(key, Kind::Secrets).unwrap();
        }
        if let Some(bytes) = target.table {
            let table: Table = bytes.verify(key, Kind::Table).unwrap();
            assert!(!table.secret.has_keys());
            have = Version::new(table.version.epoch, table.version.revision);
            held = Some(table);
        }
        // Before it is assigned to be an entry point, it gets no secrets.
        let whole = held.as_ref().filter(|table| table.secret.mark == secrets.mark);
        if let Some(joined) = whole.map(|table| table.joined(&secrets)).filter(&pleases) {
            return joined;
        }
        assert!(Instant::now() < until, "no such table");
    }
}

#[tokio::test]
async fn a_certificate_is_listed_with_whom_it_serves_and_never_with_its_key() {
    let cluster = Cluster::on_disk().await;
    cluster.deploy(spec("shop")).await;
    cluster.deploy(spec("hits")).await;
    let import = made(&["shop.example.com", "*.other.example"]);
    let done = cluster.client.import_certificate(&import).await.unwrap();
    assert_eq!(done.certificate.name, "shop.example.com");
    assert_eq!(done.remarks.len(), 1, "it is signed by itself: {done:?}");
    let list = cluster.client.certificates().await.unwrap();
    assert_eq!(list.certificates, [done.certificate]);
    let one = &list.certificates[0];
    assert_eq!((one.apps[0].as_str(), one.apps.len(), one.added_by.as_str()), ("shop", 1, "tester"));
    assert_eq!(one.domains, ["shop.example.com", "*.other.example"]);
    assert_eq!(list.missing.iter().map(|it| it.domain.as_str()).collect::<Vec<_>>(), ["hits.example.com"]);
    let events = cluster.client.events(&EventQuery::default()).await.unwrap().events;
    let told = events.iter().find(|event| event.text.contains("was imported")).unwrap();
    assert!(told.text.contains("`shop.example.com` for shop.example.com, *.other.example"), "{told:?}");
    let shown = format!("{list:?}{events:?}{}", serde_json::to_string(&list).unwrap());
    assert!(lines_of(&import.key_pem.0).all(|line| !shown.contains(line)));
}

/// Whoever copies the store's files has no secret of it.
#[tokio::test]
async fn the_stores_files_hold_no_pem_and_no_key() {
    let mut cluster = Cluster::on_disk().await;
    make_keys(&cluster).await;
    start_loop(&mut cluster);
    let import = made(&["a.example"]);
    cluster.client.import_certificate(&import).await.unwrap();
    let table = table(&cluster, Version::default(), |table| !table.secret.certificates.is_empty()).await;
    assert!(cluster.stop().await);
    let mut wanted: Vec<Vec<u8>> = vec![b"-----BEGIN".to_vec(), b"PRIVATE".to_vec()];
    wanted.extend(
        lines_of(&import.key_pem.0).chain(lines_of(&import.chain_pem)).map(|l| l.as_bytes().to_vec()),
    );
    for key in &table.secret.ticket_keys {
        wanted.extend([key.0.to_vec(), String::from(*key).into_bytes()]);
    }
    assert_eq!(table.secret.ticket_keys.len(), 2);
    wanted.push(String::from(table.secret.balancing_key.unwrap()).into_bytes());
    let mut files = 0;
    for entry in fs::read_dir(cluster.directory.path()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("store.db") {
            continue;
        }
        files += 1;
        let bytes = fs::read(entry.path()).unwrap();
        for secret in &wanted {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{name} holds {}", String::from_utf8_lossy(secret));
        }
    }
    assert!(files > 0);
}

#[tokio::test]
async fn agents_get_it_with_the_next_table_and_a_restart_changes_nothing() {
    let mut cluster = Cluster::on_disk().await;
    make_keys(&cluster).await;
    start_loop(&mut cluster);
    let before = table(&cluster, Version::default(), |_| true).await;
    let import = made(&["a.example"]);
    let began = Instant::now();
    cluster.client.import_certificate(&import).await.unwrap();
    let has_it = |table: &Table| table.secret.certificates.iter().any(|one| one.key_pem == import.key_pem);
    let at = |table: &Table| Version::new(table.version.epoch, table.version.revision);
    let first = table(&cluster, at(&before), has_it).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(first.version > before.version && first.validate().is_ok());
    let list = cluster.client.certificates().await.unwrap();
    assert_eq!(list.certificates.len(), 1);
    // The next one takes its place; the table rises once more.
    let next = made(&["a.example"]);
    cluster.client.import_certificate(&next).await.unwrap();
    let second = table(&cluster, at(&first), |table| {
        table.secret.certificates.iter().map(|one| &one.key_pem).eq([&next.key_pem])
    })
    .await;
    cluster.client.remove_certificate(&"a.example".parse().unwrap(), &Default::default()).await.unwrap();
    let third = table(&cluster, at(&second), |table| table.secret.certificates.is_empty()).await;
    assert_eq!(third.secret.ticket_keys, second.secret.ticket_keys);
    assert!(third.secret.balancing_key.is_some() && third.secret.ticket_keys.len() == 2);
    let stored = cluster.state().await.world.table.unwrap();
    assert!(stored.secret.is_empty() && stored.version == third.version);
}

#[tokio::test]
async fn what_cant_be_served_is_refused_with_reasons_and_nothing_is_kept() {
    let cluster = Cluster::in_memory().await;
    let (good, other) = (made(&["a.example"]), made(&["a.example"]));
    let wrong = [
        (
            CertificateImport { key_pem: other.key_pem.clone(), ..good.clone() },
            "the key: it belongs to another",
        ),
        (CertificateImport { chain_pem: String::new(), ..good.clone() }, "the chain: it has no certificate"),
        (CertificateImport { domains: vec!["b.example".to_owned()], ..good.clone() }, "not for `b.example`"),
        (CertificateImport { domains: vec!["*".to_owned()], ..good.clone() }, "`*` is not a host"),
        (CertificateImport { domains: vec!["a b".to_owned()], ..good.clone() }, "`a b` is not a host"),
    ];
    for (import, why) in wrong {
        let error = cluster.client.import_certificate(&import).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::Invalid), "{error:?}");
        let pando_api::ClientError::Refused(body) = &error else { panic!("{error:?}") };
        assert!(body.details.iter().any(|line| line.contains(why)), "{why}: {body:?}");
        assert!(!format!("{body:?}").contains(lines_of(&good.key_pem.0).next().unwrap()));
    }
    let huge = CertificateImport { chain_pem: "x".repeat(200_000), ..good };
    let error = cluster.client.import_certificate(&huge).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TooLarge));
    assert_eq!(names(&cluster.client).await, []);
}

#[tokio::test]
async fn domains_are_not_left_bare_without_being_asked() {
    let cluster = Cluster::in_memory().await;
    cluster.deploy(spec("shop")).await;
    let both = made(&["shop.example.com", "spare.example"]);
    cluster.client.import_certificate(&both).await.unwrap();
    let name = "shop.example.com".parse().unwrap();
    let error = cluster.client.remove_certificate(&name, &Default::default()).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), (Some(ErrorCode::Harmful), 4));
    // A wildcard serves it too: now it may go.
    let wide = made(&["*.example.com"]);
    cluster.client.import_certificate(&wide).await.unwrap();
    cluster.client.remove_certificate(&name, &Default::default()).await.unwrap();
    let star = "*.example.com".parse().unwrap();
    let error = cluster.client.remove_certificate(&star, &Default::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Harmful));
    cluster.client.remove_certificate(&star, &CertificateRemoveQuery { force: true }).await.unwrap();
    assert_eq!(names(&cluster.client).await, []);
    let error = cluster.client.remove_certificate(&star, &Default::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotFound));
}

#[tokio::test]
async fn of_many_that_come_at_once_each_host_has_one() {
    let cluster = Cluster::in_memory().await;
    let imports = (0..8).map(|n| made(&[&format!("x{n}.example"), "shared.example"]));
    let all = imports.map(|import| {
        let client = cluster.client.clone();
        async move { client.import_certificate(&import).await.unwrap() }
    });
    futures_util::future::join_all(all).await;
    let held = names(&cluster.client).await;
    let shared = held.iter().filter(|(_, domains)| domains.contains(&"shared.example".to_owned()));
    assert_eq!((held.len(), shared.count()), (8, 1));
}
