//! What a request asks for: host, path, and how the endpoint is asked.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version, header};

/// A request's target, checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// As the client sent it, with a port if there was one; empty only for an HTTP/1.0 request without any.
    pub(super) host: String,
    /// Without the query.
    pub(super) path: String,
}

impl Target {
    /// # Errors
    /// What is wrong, for the client to read: no host or several, a malformed one, one that contradicts the target.
    pub(super) fn of<B>(request: &Request<B>) -> Result<Self, &'static str> {
        let uri = request.uri();
        let host = host_header(request)?;
        let host = match uri.authority() {
            None => host,
            Some(authority) => absolute(uri, authority, host, request.version())?,
        };
        let may_lack = request.version() == Version::HTTP_10;
        if !(host.is_empty() && may_lack || is_host(host)) {
            return Err("The Host header is malformed.");
        }
        if uri.authority().is_none() && !uri.path().starts_with('/') && !is_asterisk(request) {
            return Err("The request target is malformed.");
        }
        Ok(Self { host: host.to_owned(), path: uri.path().to_owned() })
    }

    /// The target for the endpoint: path and query, without the first `strip` bytes of the path.
    ///
    /// # Errors
    /// When what is left isn't a target.
    pub(super) fn upstream(&self, uri: &Uri, strip: usize) -> Result<Uri, &'static str> {
        if strip == 0 && uri.authority().is_none() {
            return Ok(uri.clone());
        }
        let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let rest = whole.get(strip..).unwrap_or("/");
        let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
        PathAndQuery::try_from(rest).map(Uri::from).map_err(|_| "The request target is malformed.")
    }
}

fn host_header<B>(request: &Request<B>) -> Result<&str, &'static str> {
    let mut given = request.headers().get_all(header::HOST).iter();
    match (given.next(), given.next()) {
        (_, Some(_)) => Err("There is more than one Host header."),
        (Some(host), None) => host.to_str().map_err(|_| "The Host header is malformed."),
        (None, None) if request.version() == Version::HTTP_10 => Ok(""),
        (None, None) => Err("There is no Host header."),
    }
}

/// A target such as `http://example.com/`: it may not say one thing and the Host header another.
fn absolute<'a>(
    uri: &'a Uri,
    authority: &'a Authority,
    host: &'a str,
    version: Version,
) -> Result<&'a str, &'static str> {
    if uri.scheme().is_none_or(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err("The request target's scheme is not http.");
    }
    if authority.as_str().contains('@') {
        return Err("The request target has user information.");
    }
    match host {
        "" if version == Version::HTTP_10 => Ok(authority.as_str()),
        host if authority.as_str().eq_ignore_ascii_case(host) => Ok(host),
        _ => Err("The request target and the Host header name different hosts."),
    }
}

fn is_asterisk<B>(request: &Request<B>) -> bool {
    request.uri().path() == "*" && request.method() == http::Method::OPTIONS
}

/// `name`, `name:port`, `1.2.3.4:port`, `[::1]:port`.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port),
            _ => return false,
        },
        None => match host.find(':') {
            Some(colon) => host.split_at(colon),
            None => (host, ""),
        },
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| {
            port.is_empty() || port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
        });
    !name.is_empty() && name.len() <= 255 && name.bytes().all(is_name) && is_port
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(method: &str, uri: &str, hosts: &[&str], version: Version) -> Result<Target, &'static str> {
        let mut request = Request::builder().method(method).uri(uri).version(version);
        for host in hosts {
            request = request.header("host", *host);
        }
        Target::of(&request.body(()).unwrap())
    }

    #[test]
    fn exactly_one_well_formed_host_is_needed() {
        for good in ["a.example", "A.example:8080", "10.0.0.1", "[::1]:80", "[::1]", "a_b", "a.", "a:"] {
            assert_eq!(target("GET", "/x?y", &[good], Version::HTTP_11).unwrap().host, good);
        }
        let bad: [&[&str]; 10] = [
            &[],
            &["a", "a"],
            &[""],
            &["a b"],
            &["a/b"],
            &["a:b"],
            &["a:99999"],
            &["[::g]"],
            &["u@a"],
            &["a,b"],
        ];
        for hosts in bad {
            assert!(target("GET", "/", hosts, Version::HTTP_11).is_err(), "{hosts:?}");
        }
        assert_eq!(target("GET", "/", &[], Version::HTTP_10).unwrap().host, "");
    }

    #[test]
    fn an_absolute_target_agrees_with_its_host_header() {
        let found = target("GET", "http://A.example:80/p?q", &["a.example:80"], Version::HTTP_11).unwrap();
        assert_eq!((found.host.as_str(), found.path.as_str()), ("a.example:80", "/p"));
        assert!(target("GET", "http://b.example/", &["a.example"], Version::HTTP_11).is_err());
        assert!(target("GET", "ftp://a.example/", &["a.example"], Version::HTTP_11).is_err());
        assert!(target("GET", "http://u@a.example/", &["a.example"], Version::HTTP_11).is_err());
        assert_eq!(target("GET", "http://a.example/", &[], Version::HTTP_10).unwrap().host, "a.example");
        assert!(target("OPTIONS", "*", &["a"], Version::HTTP_11).is_ok());
        assert!(target("GET", "*", &["a"], Version::HTTP_11).is_err());
    }

    #[test]
    fn upstream_sees_path_and_query_without_the_prefix() {
        for (uri, strip, expected) in [
            ("/x?y=1", 0, "/x?y=1"),
            ("http://a/x?y", 0, "/x?y"),
            ("http://a", 0, "/"),
            ("/api/x?y", 4, "/x?y"),
            ("/api?y", 4, "/?y"),
            ("/api", 4, "/"),
            ("/api//x", 4, "//x"),
            ("*", 0, "*"),
        ] {
            let uri: Uri = uri.parse().unwrap();
            let target = Target { host: String::new(), path: uri.path().to_owned() };
            assert_eq!(target.upstream(&uri, strip).unwrap().to_string(), expected);
        }
    }
}
