use super::*;
use crate::inbox::Inbox;

fn upstream(request: &str, strip: usize) -> String {
    let mut paper = Paper { bytes: Inbox::holding(request.as_bytes()), ..Paper::default() };
    let Paper { head, bytes, .. } = &mut paper;
    head.read(bytes.bytes(), &pando_http::Limits::default()).unwrap();
    let id = Id::Made(*b"01a1fe43-c619-777a-8f51-5907d6d9f11d");
    paper.spell_path();
    drop_claims(&mut paper);
    let client = Client::new("[::ffff:10.0.0.9]:5".parse().unwrap(), false);
    write_head(&mut paper, strip, "10.0.0.1:80".parse().unwrap(), &client, &id);
    String::from_utf8(paper.upstream).unwrap()
}

const OURS: &str = "x-forwarded-for: 10.0.0.9\r\nx-forwarded-proto: http\r\n";
const ID: &str = "x-request-id: 01a1fe43-c619-777a-8f51-5907d6d9f11d\r\n";

#[test]
fn claims_are_replaced_and_the_rest_passes_as_it_came() {
    let asked = "POST /a?b HTTP/1.1\r\nHost: A.example\r\nX-Forwarded-For: 1.1.1.1\r\nForwarded: for=1\r\nX_Real_IP: 2\r\n\
                 X_other: 3\r\nX-Request-Id: a b\r\nProxy: p\r\nContent-Length: 3\r\nCookie:  c\r\nConnection: keep-alive\r\n\r\n";
    let expected = format!(
        "POST /a?b HTTP/1.1\r\nHost: A.example\r\nX_other: 3\r\nContent-Length: 3\r\nCookie:  c\r\n{OURS}\
         x-forwarded-host: A.example\r\n{ID}\r\n"
    );
    assert_eq!(upstream(asked, 0), expected);
}

#[test]
fn the_target_is_path_and_query_without_the_prefix() {
    let line = |target: &str, strip| {
        let method = if target == "*" { "OPTIONS" } else { "GET" };
        let all = upstream(&format!("{method} {target} HTTP/1.1\r\nhost: a\r\n\r\n"), strip);
        all.split(' ').nth(1).unwrap().to_owned()
    };
    for (target, strip, expected) in [
        ("/x?y=1", 0, "/x?y=1"),
        ("http://a/x?y", 0, "/x?y"),
        ("http://a", 0, "/"),
        ("http://a?y", 0, "/?y"),
        ("/api/x?y", 4, "/x?y"),
        ("/api?y", 4, "/?y"),
        ("/api", 4, "/"),
        ("/api//x", 4, "//x"),
        ("*", 0, "*"),
        ("/x/../api/y?/../z", 0, "/x/../api/y?/../z"),
        ("/x/../%61pi/y?/../z", 4, "/y?/../z"),
    ] {
        assert_eq!(line(target, strip), expected);
    }
}

#[test]
fn an_endpoint_always_gets_a_host() {
    let old = upstream("GET / HTTP/1.0\r\n\r\n", 0);
    assert_eq!(old, format!("GET / HTTP/1.1\r\nhost: 10.0.0.1:80\r\n{OURS}{ID}\r\n"));
    let absolute = upstream("GET http://a.example/ HTTP/1.0\r\n\r\n", 0);
    assert!(absolute.starts_with("GET / HTTP/1.1\r\nhost: a.example\r\n"), "{absolute}");
}

#[test]
fn the_connection_is_spoken_of_anew() {
    let asked = "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, te, x\r\nupgrade: websocket\r\nte: trailers, deflate\r\nx: 1\r\n\r\n";
    let expected = format!(
        "GET / HTTP/1.1\r\nhost: a\r\n{OURS}x-forwarded-host: a\r\n{ID}te: trailers\r\nupgrade: websocket\r\nconnection: te, upgrade\r\n\r\n"
    );
    assert_eq!(upstream(asked, 0), expected);
    let chunked = upstream(
        "PUT / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\nExpect: 100-continue\r\n\r\n",
        0,
    );
    assert!(chunked.contains("Expect: 100-continue\r\ntransfer-encoding: chunked\r\n"), "{chunked}");
    let bodiless = upstream("GET / HTTP/1.1\r\nhost: a\r\nExpect: 100-continue\r\n\r\n", 0);
    assert!(!bodiless.contains("Expect"), "{bodiless}");
}
