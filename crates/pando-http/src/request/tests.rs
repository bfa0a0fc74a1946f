use super::*;
use crate::{HeadScan, Known, Scanned};

fn read(text: &str) -> Result<RequestHead, Refusal> {
    let mut head = RequestHead::default();
    match HeadScan::default().strictly(text.as_bytes()) {
        Scanned::Whole { len, .. } => head.read(&text.as_bytes()[..len], &Limits::default()).map(|()| head),
        Scanned::Bare => Err(Refusal::LineEnd),
        Scanned::Partial => panic!("not whole: {text:?}"),
    }
}

/// A GET with these lines beside its host.
fn with(lines: &str) -> Result<RequestHead, Refusal> {
    read(&format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n"))
}

#[test]
fn a_plain_request_is_what_it_says() {
    let text = "POST /a/b?c=d&e HTTP/1.1\r\nHost: A.example:80\r\nContent-Length: 5\r\nX: \t y \r\n\r\n";
    let head = read(text).unwrap();
    let at = |span: Span| span.text(text.as_bytes());
    assert_eq!((head.method, at(head.method_text), head.version), (Method::Post, "POST", Version::Http11));
    assert_eq!((at(head.target), at(head.origin), at(head.path)), ("/a/b?c=d&e", "/a/b?c=d&e", "/a/b"));
    assert_eq!((at(head.host), head.framing, head.persistent), ("A.example:80", Framing::Length(5), true));
    let fields: Vec<_> =
        head.fields.iter().map(|field| (at(field.name), at(field.value), field.dropped)).collect();
    assert_eq!(fields, [("Host", "A.example:80", false), ("Content-Length", "5", false), ("X", "y", false)]);
}

#[test]
fn what_is_ambiguous_is_refused() {
    use Refusal::{
        CodingInOld, Field, Host, Hosts, Length, LengthAndCoding, LineEnd, NoHost, Nomination,
        UpgradeWithBody,
    };
    for (lines, refusal) in [
        ("content-length: 4\r\ncontent-length: 4", Length),
        ("content-length: 4, 4", Length),
        ("content-length: +4", Length),
        ("content-length: -4", Length),
        ("content-length: 0x4", Length),
        ("content-length: 4_0", Length),
        ("content-length:", Length),
        ("content-length: 18446744073709551618", Length),
        ("content-length : 4", Field),
        ("content-length: 4\r\n folded: 1", Field),
        ("content-length: 4\r\ntransfer-encoding: chunked", LengthAndCoding),
        ("transfer-encoding: chunked\r\ncontent-length: 0", LengthAndCoding),
        ("transfer-encoding: chunked, identity", Refusal::Coding),
        ("transfer-encoding: gzip, chunked", Refusal::Coding),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", Refusal::Coding),
        ("transfer-encoding: xchunked", Refusal::Coding),
        ("transfer-encoding: \"chunked\"", Refusal::Coding),
        ("transfer-encoding:", Refusal::Coding),
        ("transfer-encoding : chunked", Field),
        ("x: a\rb", Field),
        ("x: a\0b", Field),
        ("x: a\nb: c", LineEnd),
        ("x", Field),
        (": y", Field),
        ("x y: z", Field),
        ("x\u{e4}: z", Field),
        ("host: a", Hosts),
        ("connection: host", Nomination),
        ("content-length: 3\r\nconnection: close, content-length", Nomination),
        ("authorization: x\r\nconnection: Authorization", Nomination),
        ("x-forwarded-for: x\r\nconnection: x-forwarded-for", Nomination),
        ("connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 2", UpgradeWithBody),
    ] {
        assert_eq!(with(lines).map(|_| ()), Err(refusal), "{lines:?}");
    }
    for (text, refusal) in [
        ("GET / HTTP/1.1\r\n\r\n", NoHost),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nhost:\r\n\r\n", Host),
        ("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", CodingInOld),
        ("GET / HTTP/1.1\nhost: a\r\n\r\n", LineEnd),
        ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", Refusal::RequestLine),
        ("GET / HTTP/1.1 \r\nhost: a\r\n\r\n", LineEnd),
        ("GET / HTTP/1.2\r\nhost: a\r\n\r\n", Refusal::Version),
        ("GET / HTTP/2.0\r\nhost: a\r\n\r\n", Refusal::Version),
        ("GET /\r\nhost: a\r\n\r\n", Refusal::RequestLine),
        ("G(T / HTTP/1.1\r\nhost: a\r\n\r\n", Refusal::RequestLine),
        ("GET /\u{1} HTTP/1.1\r\nhost: a\r\n\r\n", Refusal::RequestLine),
        (" GET / HTTP/1.1\r\nhost: a\r\n\r\n", Refusal::RequestLine),
    ] {
        assert_eq!(read(text).map(|_| ()), Err(refusal), "{text:?}");
    }
}

#[test]
fn targets_name_one_thing_in_one_way() {
    use Refusal::{Fragment, Scheme, Target, TwoHosts, UserInformation};
    let ask = |target: &str| {
        let text = format!("GET {target} HTTP/1.1\r\nhost: a.example:80\r\n\r\n");
        let head = read(&text)?;
        let at = |span: Span| span.text(text.as_bytes()).to_owned();
        Ok((at(head.origin), at(head.path)))
    };
    let found = |origin: &str, path: &str| Ok((origin.to_owned(), path.to_owned()));
    assert_eq!(ask("http://A.example:80/p?q"), found("/p?q", "/p"));
    assert_eq!(ask("https://a.example:80"), found("", ""));
    assert_eq!(ask("http://a.example:80?q"), found("?q", ""));
    assert_eq!(ask("/x?http://b/"), found("/x?http://b/", "/x"));
    assert_eq!(ask("//b/x"), found("//b/x", "//b/x"));
    for (target, refusal) in [
        ("http://b.example/", TwoHosts),
        ("http://a.example:80.b/", TwoHosts),
        ("ftp://a.example:80/", Scheme),
        ("http://u@a.example:80/", UserInformation),
        ("/x#y", Fragment),
        ("*", Target),
        ("x", Target),
        ("a.example:80", Target),
    ] {
        assert_eq!(ask(target), Err(refusal), "{target}");
    }
    let text = "GET http://a.example/ HTTP/1.0\r\n\r\n";
    assert_eq!(read(text).unwrap().host.text(text.as_bytes()), "a.example");
    assert_eq!(read("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n").unwrap().method, Method::Options);
    assert_eq!(read("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n").unwrap().method, Method::Connect);
}

#[test]
fn what_is_of_this_connection_ends_here() {
    let text = "GET / HTTP/1.1\r\nhost: a\r\nConnection: close, X-Mine, TE\r\nX-Mine: 1\r\nTE: trailers\r\nKeep-Alive: 1\r\n\
                Upgrade: websocket\r\nProxy-Connection: x\r\nTrailer: x\r\ny: z\r\n\r\n";
    let head = read(text).unwrap();
    let kept = head.fields.iter().filter(|field| !field.dropped);
    let kept: Vec<_> = kept.map(|field| field.name.text(text.as_bytes())).collect();
    assert_eq!(kept, ["host", "Trailer", "y"]);
    assert!(head.takes_trailers && !head.persistent);
    assert_eq!(head.upgrade, None, "it was not asked for in Connection");
}

#[test]
fn upgrades_are_those_that_may_be_passed_on() {
    let upgrade = |lines: &str| with(lines).unwrap().upgrade.is_some();
    assert!(upgrade("connection: keep-alive, Upgrade\r\nupgrade: WebSocket"));
    assert!(!upgrade("connection: upgrade"));
    assert!(!upgrade("upgrade: websocket"));
    for passed_by in ["h2c", "HTTP/2.0", "tls/1.2", "websocket, h2c"] {
        assert!(!upgrade(&format!(
            "connection: upgrade, http2-settings\r\nhttp2-settings: x\r\nupgrade: {passed_by}"
        )));
    }
    assert!(!upgrade("connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 3"));
    let old = read("GET / HTTP/1.0\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").unwrap();
    assert_eq!((old.upgrade, old.persistent), (None, false));
}

#[test]
fn limits_hold() {
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(99));
    assert!(read(&many).is_ok());
    let too_many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(100));
    assert_eq!(read(&too_many).unwrap_err(), Refusal::ManyFields);
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(8 << 10));
    assert_eq!(read(&long).unwrap_err(), Refusal::LongTarget);
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(64 << 10));
    assert_eq!(read(&large).unwrap_err(), Refusal::LargeHead);
}

#[test]
fn expectations_are_those_of_clients_that_know_them() {
    assert!(with("expect: 100-Continue\r\ncontent-length: 1").unwrap().expects_continue);
    let old = read("POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n").unwrap();
    assert!(
        !old.expects_continue && old.fields.iter().any(|field| field.known == Known::Expect && field.dropped)
    );
}
