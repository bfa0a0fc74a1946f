//! Renewed certificates: used by new handshakes while connections live on.

use std::sync::Arc;

use pando_trust::tls::{Callers, client_config, server_config};
use pando_trust::{Subject, peer_identity};

use crate::bed::{Bed, DAY, ends, server, word};

#[tokio::test]
async fn both_ends_use_a_renewed_certificate_and_lose_no_connection() {
    let bed = Bed::new();
    let (control, agent) = (bed.live(Subject::Control), bed.live(server(1)));
    let accepting = server_config(&control, Callers::Known(Arc::new(|_| true)), &bed.clock).unwrap();
    let calling = client_config(&agent, Subject::Control, &bed.clock).unwrap();
    let (accepted, connected) = ends(&accepting, &calling).await;
    let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());

    bed.clock.advance(10 * DAY);
    assert!(control.swap(bed.identity(Subject::Control)) && agent.swap(bed.identity(server(1))));
    let (one, other) = tokio::join!(word(&mut accepted), word(&mut connected));
    one.and(other).unwrap();

    let (again, back) = ends(&accepting, &calling).await;
    let (again, back) = (again.unwrap(), back.unwrap());
    let callers = [&accepted, &again]
        .map(|stream| peer_identity(stream.get_ref().1.peer_certificates(), bed.now()).unwrap().unwrap());
    assert!(callers[0].expired && !callers[1].expired, "{callers:?}");
    let answered = peer_identity(back.get_ref().1.peer_certificates(), bed.now()).unwrap().unwrap();
    assert_eq!((answered.subject, answered.expired), (Subject::Control, false));
    assert_eq!(back.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn an_identity_of_somebody_else_does_not_take_the_place() {
    let (bed, other) = (Bed::new(), Bed::new());
    let agent = bed.live(server(1));
    let before = agent.current();
    assert!(!agent.swap(bed.identity(server(2))));
    assert!(!agent.swap(other.identity(server(1))));
    assert!(Arc::ptr_eq(&before, &agent.current()));
}
