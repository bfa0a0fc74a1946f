//! TLS with replicas, and the protocol that goes with it.

use pando_routing::{Protocol, UpstreamTls};

use crate::decode::Switch;
use crate::diagnostic::Sink;
use crate::raw::balancing::{LoadBalancing, ReplicaTls, Speaks};

pub(super) fn given(given: &LoadBalancing) -> Option<&ReplicaTls> {
    given.tls.value().and_then(Switch::on)
}

pub(super) fn protocol(given: &LoadBalancing, sink: &mut Sink) -> Protocol {
    let secure = self::given(given).is_some();
    let mut wrong = |reason: &str, hint: &str| {
        if let Some(key) = given.protocol.key() {
            sink.error_hint(key, reason, hint);
        }
    };
    match (given.protocol.value(), secure) {
        (Some(Speaks::Http1) | None, _) => Protocol::Http1,
        (Some(Speaks::Grpc), false) => Protocol::H2c,
        (Some(Speaks::Grpc | Speaks::H2), true) => Protocol::H2,
        (Some(Speaks::H2c), false) => Protocol::H2c,
        (Some(Speaks::H2c), true) => {
            wrong("`h2c` is HTTP/2 without TLS, and there is `tls`", "with TLS it is called `h2`");
            Protocol::H2
        }
        (Some(Speaks::H2), false) => {
            wrong(
                "`h2` is HTTP/2 over TLS, and there is no `tls`",
                "without TLS it is called `h2c`; or add `tls: true`",
            );
            Protocol::H2c
        }
    }
}

/// The name of the authorities is left to whoever makes a table.
pub(super) fn rules(given: &LoadBalancing, tls: &ReplicaTls, sink: &mut Sink) -> UpstreamTls {
    let insecure_skip_verify = tls.insecure_skip_verify.value().is_some_and(|flag| flag.0);
    if let Some(key) = tls.ca.key().filter(|_| insecure_skip_verify) {
        sink.error_hint(
            key,
            "authorities mean nothing with `insecure_skip_verify`",
            "leave out one of the two",
        );
    }
    if let (true, Some(key)) = (insecure_skip_verify, given.tls.key()) {
        let hint = "give the replicas' authority as `ca`, and their name as `server_name`";
        sink.warn(key, "replicas are not verified: anybody between can read and change everything", hint);
    }
    UpstreamTls {
        ca: None,
        server_name: tls.server_name.value().map(|name| name.0.as_str().into()),
        insecure_skip_verify,
        client_certificate: tls.client_certificate.value().map(|host| host.0.as_str().into()),
    }
}
