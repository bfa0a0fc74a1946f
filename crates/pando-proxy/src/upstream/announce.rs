//! The PROXY protocol towards endpoints, versions 1 and 2: on whose behalf a connection is opened, before anything else is said.
//!
//! What is said holds for all of a connection, so that one which was opened for one client's connection carries no other's
//! requests.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use pando_routing::policy::ProxyProtocol;

/// What a header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// A client's connection, by both of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) client: SocketAddr,
    /// Where the client connected to. `None`: it came before anybody wanted to know.
    pub(crate) here: Option<SocketAddr>,
}

/// The header for a connection that is opened for that client; `None`: for ourselves, such as a probe.
pub(crate) fn header(version: ProxyProtocol, ends: Option<Ends>) -> Vec<u8> {
    let addresses = ends.map(Addresses::of);
    match version {
        ProxyProtocol::V1 => version_1(addresses.as_ref()),
        ProxyProtocol::V2 => version_2(addresses.as_ref()),
    }
}

/// Source and destination of one family.
enum Addresses {
    V4([(Ipv4Addr, u16); 2]),
    V6([(Ipv6Addr, u16); 2]),
}

impl Addresses {
    fn of(ends: Ends) -> Self {
        let canonical = |end: SocketAddr| (end.ip().to_canonical(), end.port());
        let (source, port) = canonical(ends.client);
        let there = ends.here.map(canonical);
        match (source, there) {
            (IpAddr::V4(source), None) => Self::V4([(source, port), (Ipv4Addr::UNSPECIFIED, 0)]),
            (IpAddr::V4(source), Some((IpAddr::V4(here), here_port))) => {
                Self::V4([(source, port), (here, here_port)])
            }
            (source, there) => {
                let (here, here_port) = there.unwrap_or((Ipv6Addr::UNSPECIFIED.into(), 0));
                Self::V6([(wide(source), port), (wide(here), here_port)])
            }
        }
    }
}

/// An address of version 4 as one of version 6 (`::ffff:192.0.2.1`).
fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn version_1(addresses: Option<&Addresses>) -> Vec<u8> {
    let line = match addresses {
        None => "PROXY UNKNOWN\r\n".to_owned(),
        Some(Addresses::V4([(a, b), (c, d)])) => format!("PROXY TCP4 {a} {c} {b} {d}\r\n"),
        // Receivers know digits better than dots.
        Some(Addresses::V6([(a, b), (c, d)])) => {
            format!("PROXY TCP6 {} {} {b} {d}\r\n", digits(*a), digits(*c))
        }
    };
    line.into_bytes()
}

fn digits(address: Ipv6Addr) -> String {
    match address.to_ipv4_mapped() {
        Some(_) => address.segments().map(|segment| format!("{segment:x}")).join(":"),
        None => address.to_string(),
    }
}

fn version_2(addresses: Option<&Addresses>) -> Vec<u8> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    let mut header = SIGNATURE.to_vec();
    // Writing to memory doesn't fail.
    let _ = match addresses {
        None => header.write_all(&[LOCAL, 0, 0, 0]),
        Some(Addresses::V4([(a, b), (c, d)])) => {
            let parts =
                [&[PROXY, 0x11, 0, 12][..], &a.octets(), &c.octets(), &b.to_be_bytes(), &d.to_be_bytes()];
            header.write_all(&parts.concat())
        }
        Some(Addresses::V6([(a, b), (c, d)])) => {
            let parts =
                [&[PROXY, 0x21, 0, 36][..], &a.octets(), &c.octets(), &b.to_be_bytes(), &d.to_be_bytes()];
            header.write_all(&parts.concat())
        }
    };
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(client: &str, here: Option<&str>) -> Option<Ends> {
        Some(Ends { client: client.parse().unwrap(), here: here.map(|here| here.parse().unwrap()) })
    }

    fn v1(ends: Option<Ends>) -> String {
        String::from_utf8(header(ProxyProtocol::V1, ends)).unwrap()
    }

    #[test]
    fn lines_of_version_1_are_as_they_are_specified() {
        for (client, here, line) in [
            ("192.0.2.1:56324", Some("198.51.100.1:443"), "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"),
            ("[::ffff:192.0.2.1]:5", Some("[::ffff:10.0.0.1]:80"), "PROXY TCP4 192.0.2.1 10.0.0.1 5 80\r\n"),
            ("[2001:db8::1]:5", Some("[::1]:80"), "PROXY TCP6 2001:db8::1 ::1 5 80\r\n"),
            ("192.0.2.1:5", None, "PROXY TCP4 192.0.2.1 0.0.0.0 5 0\r\n"),
            ("192.0.2.1:5", Some("[::1]:80"), "PROXY TCP6 0:0:0:0:0:ffff:c000:201 ::1 5 80\r\n"),
        ] {
            assert_eq!(v1(ends(client, here)), line);
        }
        assert_eq!(v1(None), "PROXY UNKNOWN\r\n");
        let longest = "[1111:2222:3333:4444:5555:6666:7777:8888]:65535";
        assert!(v1(ends(longest, Some(longest))).len() <= 107);
    }

    #[test]
    fn headers_of_version_2_are_as_they_are_specified() {
        let v2 = |ends| header(ProxyProtocol::V2, ends);
        assert_eq!(v2(None), [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat());
        let four = v2(ends("192.0.2.1:258", Some("10.0.0.1:80")));
        assert_eq!(four[12..], [0x21, 0x11, 0, 12, 192, 0, 2, 1, 10, 0, 0, 1, 1, 2, 0, 80]);
        let six = v2(ends("[2001:db8::1]:258", Some("[::1]:80")));
        assert_eq!((six.len(), &six[12..16]), (16 + 36, &[0x21, 0x21, 0, 36][..]));
        assert_eq!(six[48..], [1, 2, 0, 80]);
    }
}
