use super::*;

fn map(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers
            .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn upstream(pairs: &[(&str, &str)]) -> (HeaderMap, Option<Upgrade>) {
    let mut headers = map(pairs);
    let client = Client { address: "[::ffff:10.1.2.3]:4000".parse().unwrap() };
    let upgrade = to_upstream(&mut headers, client, &HeaderValue::from_static("id"), true);
    (headers, upgrade)
}

#[test]
fn what_a_client_claims_about_itself_is_replaced() {
    let (headers, _) = upstream(&[
        ("host", "a.example"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-for", "5.6.7.8"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("forwarded", "for=1.2.3.4"),
        ("x-real-ip", "1.2.3.4"),
        ("x_forwarded_for", "1.2.3.4"),
        ("X-Forwarded_Proto", "https"),
        ("x_request_id", "mine"),
        ("proxy", "http://evil"),
        ("cookie", "kept"),
        ("x_own_header", "kept"),
    ]);
    let expected = map(&[
        ("host", "a.example"),
        ("x-forwarded-for", "10.1.2.3"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "a.example"),
        ("x-request-id", "id"),
        ("cookie", "kept"),
        ("x_own_header", "kept"),
    ]);
    assert_eq!(headers, expected);
}

#[test]
fn hop_by_hop_headers_end_here_whoever_names_them() {
    let (headers, upgrade) = upstream(&[
        ("host", "a"),
        ("connection", "close, X-Private,host"),
        ("connection", "Keep-Alive, content-length, x-forwarded-for"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("x-private", "secret"),
        ("content-length", "3"),
    ]);
    assert_eq!(upgrade, None, "nothing in Connection asked for an upgrade");
    for gone in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "x-private"]
    {
        assert!(!headers.contains_key(gone), "{gone}");
    }
    assert_eq!(headers["host"], "a");
    assert_eq!(headers["content-length"], "3");
    assert_eq!(headers["x-forwarded-for"], "10.1.2.3");
}

#[test]
fn an_upgrade_and_trailers_are_asked_for_upstream_too() {
    let (headers, upgrade) = upstream(&[
        ("host", "a"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("te", "gzip, Trailers"),
    ]);
    assert_eq!(upgrade, Some(Upgrade { is_websocket: true }));
    assert_eq!(headers["upgrade"], "WebSocket");
    assert_eq!(headers["te"], "trailers");
    let connection: Vec<_> = headers.get_all("connection").iter().collect();
    assert_eq!(connection, ["te", "upgrade"]);
}

#[test]
fn an_answer_is_cleaned_and_a_lying_length_removed() {
    let response = |pairs| {
        let mut response = Response::new(());
        *response.version_mut() = Version::HTTP_10;
        *response.headers_mut() = map(pairs);
        response
    };
    let mut plain =
        response(&[("connection", "x-a"), ("x-a", "1"), ("content-length", "3"), ("trailer", "t")]);
    to_client(&mut plain);
    assert_eq!(*plain.headers(), map(&[("content-length", "3"), ("trailer", "t")]));
    assert_eq!(plain.version(), Version::HTTP_11);

    let mut both = response(&[("transfer-encoding", "chunked"), ("content-length", "3")]);
    to_client(&mut both);
    assert_eq!(*both.headers(), map(&[]));

    let mut switching =
        response(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("content-length", "0")]);
    to_client_upgrading(&mut switching);
    assert_eq!(*switching.headers(), map(&[("connection", "upgrade"), ("upgrade", "websocket")]));
}

#[test]
fn a_missing_host_is_filled_in() {
    let mut headers = map(&[]);
    ensure_host(&mut headers, || "10.0.0.1:80".to_owned());
    assert_eq!(headers["host"], "10.0.0.1:80");
    ensure_host(&mut headers, || unreachable!());
}

#[test]
fn upgrades_to_http_itself_are_not_passed_on() {
    for protocol in ["h2c", "H2C", "websocket, h2c", "HTTP/2.0", "TLS/1.3"] {
        let (headers, upgrade) = upstream(&[("host", "a"), ("connection", "upgrade"), ("upgrade", protocol)]);
        assert_eq!(upgrade, None, "{protocol}");
        assert!(!headers.contains_key("upgrade") && !headers.contains_key("connection"), "{protocol}");
    }
}
