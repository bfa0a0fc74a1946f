//! Whom the accepting end lets in, and what it learns of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pando_trust::tls::{Callers, Mistrust, accept, client_config, pinned_config, server_config, tls_cause};
use pando_trust::{LiveIdentity, Subject};
use rustls::{AlertDescription, Error};

use crate::bed::{Bed, DAY, server};

fn everybody() -> Callers {
    Callers::Known(Arc::new(|_| true))
}

#[tokio::test]
async fn a_member_is_let_in_by_name() {
    let bed = Bed::new();
    let agent = server_config(&bed.live(server(1)), everybody(), &bed.clock).unwrap();
    for caller in [server(2), Subject::Control] {
        let client = client_config(&bed.live(caller), server(1), &bed.clock).unwrap();
        let met = bed.meet(&agent, &client).await;
        met.connected.unwrap();
        let peer = met.accepted.unwrap().unwrap();
        assert_eq!((peer.subject, peer.expired), (caller, false));
    }
}

#[tokio::test]
async fn who_has_no_certificate_is_let_in_only_where_anyone_is() {
    let bed = Bed::new();
    let control = bed.live(Subject::Control);
    let person = pinned_config(bed.authority.fingerprint(), &bed.clock).unwrap();
    let open = server_config(&control, Callers::Anyone, &bed.clock).unwrap();
    let met = bed.meet(&open, &person).await;
    met.connected.unwrap();
    assert_eq!(met.accepted.unwrap(), None);
    let closed = server_config(&control, everybody(), &bed.clock).unwrap();
    let met = bed.meet(&closed, &person).await;
    assert!(met.accepted.is_err() && met.connected.is_err(), "{met:?}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_even_where_anyone_is_let_in() {
    let (bed, other) = (Bed::new(), Bed::new());
    for callers in [Callers::Anyone, everybody()] {
        let agent = server_config(&bed.live(server(1)), callers, &bed.clock).unwrap();
        let foreign = LiveIdentity::new(mixed(&bed, &other));
        let client = client_config(&foreign, server(1), &bed.clock).unwrap();
        let met = bed.meet(&agent, &client).await;
        assert!(met.accepted.is_err() && met.connected.is_err(), "{met:?}");
    }
}

/// A certificate of the other cluster in the hands of somebody who believes in the first.
fn mixed(bed: &Bed, other: &Bed) -> pando_trust::Identity {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.json");
    other.identity(server(2)).save(&path).unwrap();
    let mut file: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    file["authority"] = serde_json::to_value(bed.authority.anchor()).unwrap();
    std::fs::write(&path, file.to_string()).unwrap();
    pando_trust::Identity::load(&path).unwrap().unwrap()
}

/// Whoever is refused learns why, though it had begun to speak.
#[tokio::test]
async fn a_refused_caller_hears_of_it() {
    let bed = Bed::new();
    let nobody = Callers::Known(Arc::new(|_| false));
    let agent = server_config(&bed.live(server(1)), nobody, &bed.clock).unwrap();
    let client = client_config(&bed.live(server(2)), server(1), &bed.clock).unwrap();
    for _ in 0..50 {
        let error = bed.meet(&agent, &client).await.connected.unwrap_err();
        let said = tls_cause(&error);
        assert!(matches!(said, Some(Error::AlertReceived(AlertDescription::AccessDenied))), "{error:?}");
    }
}

#[tokio::test]
async fn who_does_not_shake_hands_in_time_is_left() {
    let bed = Bed::new();
    let agent = server_config(&bed.live(server(1)), everybody(), &bed.clock).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _silent = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let left = accept(stream, &agent, std::time::Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(left.kind(), std::io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_removed_server_is_refused_at_its_next_handshake() {
    let bed = Bed::new();
    let known = Arc::new(AtomicBool::new(true));
    let look = Arc::clone(&known);
    let callers =
        Callers::Known(Arc::new(move |peer| peer.subject == server(2) && look.load(Ordering::SeqCst)));
    let agent = server_config(&bed.live(server(1)), callers, &bed.clock).unwrap();
    let client = client_config(&bed.live(server(2)), server(1), &bed.clock).unwrap();
    let stranger = client_config(&bed.live(server(3)), server(1), &bed.clock).unwrap();
    assert!(bed.meet(&agent, &client).await.accepted.is_ok());
    assert!(bed.meet(&agent, &stranger).await.accepted.is_err());
    known.store(false, Ordering::SeqCst);
    let met = bed.meet(&agent, &client).await;
    assert!(met.accepted.is_err() && met.connected.is_err(), "{met:?}");
}

#[tokio::test]
async fn expired_callers_are_let_in_and_marked_within_ninety_days() {
    let bed = Bed::new();
    let agent = bed.live(server(1));
    let client = client_config(&bed.live(server(2)), server(1), &bed.clock).unwrap();
    // Ten days after its end, then ninety-one.
    bed.clock.advance(17 * DAY);
    assert!(agent.swap(bed.identity(server(1))));
    let config = server_config(&agent, everybody(), &bed.clock).unwrap();
    let peer = bed.meet(&config, &client).await.accepted.unwrap().unwrap();
    assert!(peer.expired && peer.subject == server(2));
    bed.clock.advance(81 * DAY);
    assert!(agent.swap(bed.identity(server(1))));
    let met = bed.meet(&config, &client).await;
    let error = met.accepted.unwrap_err();
    assert!(matches!(Mistrust::cause_of(&error), Some(Mistrust::OutOfTime { .. })), "{error:?}");
    assert!(met.connected.is_err());
}
