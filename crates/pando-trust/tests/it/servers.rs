//! Whom the connecting end believes.

use pando_trust::tls::{Callers, Mistrust, client_config, pinned_config, server_config};
use pando_trust::{LiveIdentity, Subject};

use crate::bed::{Bed, DAY, server};

#[tokio::test]
async fn only_the_expected_name_is_believed_whatever_the_address() {
    let bed = Bed::new();
    for (answering, expected) in
        [(server(1), server(3)), (server(1), Subject::Control), (Subject::Control, server(1))]
    {
        let config = server_config(&bed.live(answering), Callers::Anyone, &bed.clock).unwrap();
        let client = client_config(&bed.live(server(2)), expected, &bed.clock).unwrap();
        let met = bed.meet(&config, &client).await;
        assert!(met.accepted.is_err());
        let error = met.connected.unwrap_err();
        let wanted = Mistrust::OtherName { expected, found: answering };
        assert_eq!(Mistrust::cause_of(&error), Some(&wanted), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_of_another_cluster_is_not_believed() {
    let (bed, other) = (Bed::new(), Bed::new());
    let foreign = server_config(&other.live(server(1)), Callers::Anyone, &bed.clock).unwrap();
    let client = client_config(&bed.live(server(2)), server(1), &bed.clock).unwrap();
    let met = bed.meet(&foreign, &client).await;
    let error = met.connected.unwrap_err();
    assert!(met.accepted.is_err() && Mistrust::cause_of(&error).is_none(), "{error}");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn a_pin_opens_its_own_cluster_alone_and_for_control_alone() {
    let (bed, other) = (Bed::new(), Bed::new());
    let control = server_config(&bed.live(Subject::Control), Callers::Anyone, &bed.clock).unwrap();
    let agent = server_config(&bed.live(server(1)), Callers::Anyone, &bed.clock).unwrap();
    let pinned = pinned_config(bed.authority.fingerprint(), &bed.clock).unwrap();
    bed.meet(&control, &pinned).await.connected.unwrap();

    let error = bed.meet(&agent, &pinned).await.connected.unwrap_err();
    assert!(matches!(Mistrust::cause_of(&error), Some(Mistrust::OtherName { .. })), "{error:?}");

    let expected = other.authority.fingerprint();
    let wrong = pinned_config(expected, &bed.clock).unwrap();
    let met = bed.meet(&control, &wrong).await;
    let error = met.connected.unwrap_err();
    assert_eq!(Mistrust::cause_of(&error), Some(&Mistrust::OtherCluster { expected }), "{error:?}");
    assert!(met.accepted.is_err());
}

/// The authority's certificate is public: showing it proves nothing.
#[tokio::test]
async fn showing_the_pinned_certificate_beside_a_foreign_one_is_not_enough() {
    let (bed, other) = (Bed::new(), Bed::new());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.json");
    other.identity(Subject::Control).save(&path).unwrap();
    let mut file: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    file["authority"] = serde_json::to_value(bed.authority.anchor()).unwrap();
    std::fs::write(&path, file.to_string()).unwrap();
    let liar = LiveIdentity::new(pando_trust::Identity::load(&path).unwrap().unwrap());
    let config = server_config(&liar, Callers::Anyone, &bed.clock).unwrap();
    let pinned = pinned_config(bed.authority.fingerprint(), &bed.clock).unwrap();
    let met = bed.meet(&config, &pinned).await;
    assert!(met.connected.is_err() && met.accepted.is_err(), "{met:?}");
}

#[tokio::test]
async fn expired_servers_are_believed_for_ninety_days_and_by_slow_clocks() {
    let bed = Bed::new();
    let control = server_config(&bed.live(Subject::Control), Callers::Anyone, &bed.clock).unwrap();
    let pinned = pinned_config(bed.authority.fingerprint(), &bed.clock).unwrap();
    for (advance, believed) in [(-8 * DAY, true), (8 * DAY, true), (17 * DAY, true), (81 * DAY, false)] {
        bed.clock.advance(advance);
        let met = bed.meet(&control, &pinned).await;
        assert_eq!(met.connected.is_ok(), believed, "{met:?}");
        if let Err(error) = met.connected {
            assert!(matches!(Mistrust::cause_of(&error), Some(Mistrust::OutOfTime { .. })), "{error:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_tls_is_an_error() {
    use tokio::io::AsyncWriteExt;
    let bed = Bed::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    };
    let connect = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let pinned = pinned_config(bed.authority.fingerprint(), &bed.clock).unwrap();
        tokio_rustls::TlsConnector::from(pinned).connect(address.ip().into(), stream).await
    };
    let (connected, ()) = tokio::join!(connect, plain);
    assert_eq!(connected.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}
