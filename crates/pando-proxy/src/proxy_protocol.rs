//! The PROXY protocol, versions 1 and 2: a proxy in front of us says on whose behalf it connects, before anything else.
//!
//! Only who is named in the settings is asked for it, and must say it: what anybody could say would be worth nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What a header of version 2 begins with; one of version 1 is longer than that too.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of a header of version 2 before its addresses.
const HEAD: usize = 16;

/// The longest line of version 1, by its specification.
const LONGEST_LINE: usize = 107;

/// Addresses and what else a header of version 2 says; more than any proxy has to say.
const MOST: usize = 4096;

/// Why nobody knows who connects.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSaid {
    #[error("there is no PROXY header where one must be")]
    Missing,
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error("the connection ended within the PROXY header: {0}")]
    Broken(#[from] io::Error),
}

/// Reads the header and nothing beyond it. `None`: the proxy connects for itself, or for somebody without an address.
pub(crate) async fn read(tcp: &mut TcpStream) -> Result<Option<SocketAddr>, NotSaid> {
    let mut head = [0; HEAD];
    let (first, rest) = head.split_at_mut(SIGNATURE.len());
    tcp.read_exact(first).await?;
    if *first == SIGNATURE {
        tcp.read_exact(rest).await?;
        let mut addresses =
            vec![0; length(&head).filter(|length| *length <= MOST).ok_or(NotSaid::Malformed)?];
        tcp.read_exact(&mut addresses).await?;
        return version_2(&head, &addresses);
    }
    if !first.starts_with(b"PROXY ") {
        return Err(NotSaid::Missing);
    }
    let mut line = first.to_vec();
    read_line(tcp, &mut line).await?;
    version_1(&line)
}

/// Reads on to the end of the line.
async fn read_line(tcp: &mut TcpStream, line: &mut Vec<u8>) -> Result<(), NotSaid> {
    while !line.ends_with(b"\n") {
        let mut seen = [0; LONGEST_LINE];
        let room = LONGEST_LINE - line.len();
        let count = tcp.peek(&mut seen[..room]).await?;
        if count == 0 {
            let missing = if room == 0 { NotSaid::Malformed } else { NotSaid::Missing };
            return Err(missing);
        }
        let end = seen[..count].iter().position(|byte| *byte == b'\n').map_or(count, |end| end + 1);
        tcp.read_exact(&mut seen[..end]).await?;
        line.extend_from_slice(&seen[..end]);
    }
    Ok(())
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`, or `PROXY UNKNOWN` and anything.
fn version_1(line: &[u8]) -> Result<Option<SocketAddr>, NotSaid> {
    let line = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    let mut words = line.ok_or(NotSaid::Malformed)?.split(' ').skip(1);
    let family = words.next().ok_or(NotSaid::Malformed)?;
    if family == "UNKNOWN" {
        return Ok(None);
    }
    let words: Vec<&str> = words.collect();
    let [source, destination, port, other_port] = words[..] else { return Err(NotSaid::Malformed) };
    let address = |text: &str| match family {
        "TCP4" => text.parse().map(IpAddr::V4).ok(),
        "TCP6" => text.parse().map(IpAddr::V6).ok(),
        _ => None,
    };
    let port_of = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let said = (address(source), address(destination), port_of(port), port_of(other_port));
    let (Some(source), Some(_), Some(port), Some::<u16>(_)) = said else { return Err(NotSaid::Malformed) };
    Ok(Some(SocketAddr::new(source, port)))
}

/// Of what follows the head.
fn length(head: &[u8; HEAD]) -> Option<usize> {
    let is_version_2 = head[12] >> 4 == 2;
    is_version_2.then(|| usize::from(u16::from_be_bytes([head[14], head[15]])))
}

fn version_2(head: &[u8; HEAD], addresses: &[u8]) -> Result<Option<SocketAddr>, NotSaid> {
    let (local, proxied) = (0, 1);
    match (head[12] & 0xf, head[13]) {
        (command, _) if command == local => Ok(None),
        (command, 0x11) if command == proxied => {
            let (source, port) = read_v4(addresses).ok_or(NotSaid::Malformed)?;
            Ok(Some((source, port).into()))
        }
        (command, 0x21) if command == proxied => {
            let (source, port) = read_v6(addresses).ok_or(NotSaid::Malformed)?;
            Ok(Some((source, port).into()))
        }
        // Unix sockets, and what isn't said.
        (command, 0x00 | 0x31) if command == proxied => Ok(None),
        _ => Err(NotSaid::Malformed),
    }
}

/// Both addresses, then both ports; extensions may follow.
fn read_v4(bytes: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let bytes = bytes.first_chunk::<12>()?;
    Some((Ipv4Addr::from(*bytes.first_chunk::<4>()?), u16::from_be_bytes([bytes[8], bytes[9]])))
}

fn read_v6(bytes: &[u8]) -> Option<(Ipv6Addr, u16)> {
    let bytes = bytes.first_chunk::<36>()?;
    Some((Ipv6Addr::from(*bytes.first_chunk::<16>()?), u16::from_be_bytes([bytes[32], bytes[33]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Option<Option<String>> {
        version_1(line.as_bytes()).ok().map(|source| source.map(|source| source.to_string()))
    }

    #[test]
    fn lines_of_version_1_say_who() {
        let known = |text: &str| Some(Some(text.to_owned()));
        assert_eq!(one("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"), known("192.0.2.1:56324"));
        assert_eq!(one("PROXY TCP6 2001:db8::1 ::1 1 443\r\n"), known("[2001:db8::1]:1"));
        assert_eq!(one("PROXY UNKNOWN\r\n"), Some(None));
        assert_eq!(one("PROXY UNKNOWN a b c\r\n"), Some(None));
        for wrong in [
            "PROXY\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 5\r\n",
            "PROXY TCP4 192.0.2.1  198.51.100.1 56324 443\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 ::1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 -1 443\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n",
        ] {
            assert_eq!(one(wrong), None, "{wrong}");
        }
    }

    fn two(version_command: u8, family: u8, addresses: &[u8]) -> Option<Option<String>> {
        let mut head = [0; HEAD];
        head[..12].copy_from_slice(&SIGNATURE);
        (head[12], head[13]) = (version_command, family);
        let said = version_2(&head, addresses).ok();
        length(&head)?;
        said.map(|source| source.map(|source| source.to_string()))
    }

    #[test]
    fn headers_of_version_2_say_who() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x34, 1, 187];
        let mut v6 = [0; 36];
        (v6[0], v6[15], v6[32], v6[33]) = (0xfd, 1, 0, 80);
        let known = |text: &str| Some(Some(text.to_owned()));
        assert_eq!(two(0x21, 0x11, &v4), known("192.0.2.1:4660"));
        assert_eq!(two(0x21, 0x11, &[&v4[..], &[4, 0, 1, 9]].concat()), known("192.0.2.1:4660"));
        assert_eq!(two(0x21, 0x21, &v6), known("[fd00::1]:80"));
        assert_eq!(two(0x20, 0x11, &[]), Some(None));
        assert_eq!(two(0x21, 0x00, &[]), Some(None));
        assert_eq!(two(0x21, 0x31, &[0; 216]), Some(None));
        for (version_command, family, addresses) in [
            (0x21, 0x11, &v4[..11]),
            (0x21, 0x21, &v6[..35]),
            (0x22, 0x11, &v4),
            (0x11, 0x11, &v4),
            (0x21, 0x12, &v4),
        ] {
            assert_eq!(two(version_command, family, addresses), None, "{version_command:x} {family:x}");
        }
    }
}
