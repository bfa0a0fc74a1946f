use http::Request;
use pando_http::Method;

use super::*;

fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn text(parts: &Parts, ended: bool) -> Result<String, Fault> {
    let translated = translate(parts, ended, &Limits::default())?;
    Ok(String::from_utf8(translated.asked.bytes.bytes().to_vec()).unwrap())
}

#[test]
fn a_head_is_written_as_http1_has_it() {
    let asked =
        parts("GET", "http://a.example/p?q", &[("x", "1"), ("cookie", "a=1"), ("y", "2"), ("cookie", "b=2")]);
    let head = "GET /p?q HTTP/1.1\r\nhost: a.example\r\nx: 1\r\ny: 2\r\ncookie: a=1; b=2\r\n\r\n";
    assert_eq!(text(&asked, true).unwrap(), head);
    let translated = translate(&asked, true, &Limits::default()).unwrap();
    let head = &translated.asked.head;
    assert_eq!((head.method, head.version, head.framing), (Method::Get, Version::Http2, Framing::Empty));
    assert!(translated.key.is_none());
}

#[test]
fn bodies_are_as_long_as_said_or_chunked() {
    let framing = |fields: &[(&str, &str)], ended| {
        let asked = parts("POST", "http://a/", fields);
        translate(&asked, ended, &Limits::default()).map(|translated| translated.asked.head.framing)
    };
    assert_eq!(framing(&[], true), Ok(Framing::Empty));
    assert_eq!(framing(&[], false), Ok(Framing::Chunked));
    assert_eq!(framing(&[("content-length", "5")], false), Ok(Framing::Length(5)));
    assert_eq!(framing(&[("content-length", "0")], true), Ok(Framing::Empty));
    assert_eq!(framing(&[("content-length", "5")], true), Err(Fault::Malformed));
    assert_eq!(framing(&[("content-length", "+5")], false), Err(Fault::Malformed));
    assert_eq!(framing(&[("content-length", "5"), ("content-length", "5")], false), Err(Fault::Malformed));
    assert_eq!(framing(&[("transfer-encoding", "chunked")], false), Err(Fault::Malformed));
}

#[test]
fn whom_a_request_is_for_is_said_in_one_way() {
    let host = |uri: &str, hosts: &[&str]| {
        let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let asked = parts("GET", uri, &fields);
        let translated = translate(&asked, true, &Limits::default())?;
        let paper = &translated.asked;
        Ok(paper.head.host.text(paper.bytes.bytes()).to_owned())
    };
    assert_eq!(host("http://a.example:81/", &[]), Ok("a.example:81".to_owned()));
    assert_eq!(host("http://a.example/", &["A.example"]), Ok("a.example".to_owned()));
    assert_eq!(host("/", &["b.example"]), Ok("b.example".to_owned()));
    for (uri, hosts) in [
        ("/", &[][..]),
        ("http://a/", &["b"]),
        ("http://a/", &["a", "a"]),
        ("/", &["a", "a"]),
        ("/", &[""]),
        ("/", &["a/b"]),
        ("http://u@a/", &[]),
        ("ftp://a/", &[]),
    ] {
        assert_eq!(host(uri, hosts), Err(Fault::Malformed), "{uri} {hosts:?}");
    }
}

#[test]
fn targets_are_paths() {
    let ask = |method: &str, uri: &str| text(&parts(method, uri, &[("host", "a")]), true);
    assert!(ask("OPTIONS", "*").unwrap().starts_with("OPTIONS * HTTP/1.1\r\n"));
    assert_eq!(ask("GET", "*"), Err(Fault::Malformed));
    let long = format!("/{}", "x".repeat(9000));
    assert!(matches!(ask("GET", &long), Err(Fault::Refused(414, _))));
    let connect = parts("CONNECT", "a.example:443", &[]);
    assert_eq!(
        text(&connect, true).unwrap(),
        "CONNECT a.example:443 HTTP/1.1\r\nhost: a.example:443\r\n\r\n"
    );
    assert_eq!(text(&parts("CONNECT", "/", &[("host", "a")]), true), Err(Fault::Malformed));
}

#[test]
fn values_without_a_place_in_http1_are_refused() {
    for value in [" a", "a ", "\ta", "a\t", " "] {
        let asked = parts("GET", "http://a/", &[("x", value)]);
        assert_eq!(text(&asked, true), Err(Fault::Malformed), "{value:?}");
    }
    assert!(text(&parts("GET", "http://a/", &[("x", ""), ("y", "a b")]), true).is_ok());
    let many: Vec<_> = (0..100).map(|_| ("x", "y")).collect();
    assert!(matches!(text(&parts("GET", "http://a/", &many), true), Err(Fault::Refused(431, _))));
    let large = "x".repeat(65_000);
    let asked = parts("GET", "http://a/", &[("x", &large), ("y", &large)]);
    assert!(matches!(text(&asked, true), Err(Fault::Refused(431, _))));
}

#[test]
fn an_extended_connect_is_an_upgrade() {
    let mut asked =
        parts("CONNECT", "http://a/chat", &[("sec-websocket-version", "13"), ("sec-websocket-key", "mine")]);
    asked.extensions.insert(h2::ext::Protocol::from_static("websocket"));
    let written = text(&asked, false).unwrap();
    let start = "GET /chat HTTP/1.1\r\nhost: a\r\nsec-websocket-version: 13\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-key: ";
    assert!(written.starts_with(start) && !written.contains("mine"), "{written}");
    let translated = translate(&asked, false, &Limits::default()).unwrap();
    assert!(translated.key.is_some() && translated.asked.head.upgrade.is_some());
    asked.headers.insert("content-length", http::HeaderValue::from_static("4"));
    assert_eq!(text(&asked, false), Err(Fault::Malformed));
    asked.extensions.insert(h2::ext::Protocol::from_static("connect-udp"));
    assert!(matches!(text(&asked, false), Err(Fault::Refused(501, _))));
}
