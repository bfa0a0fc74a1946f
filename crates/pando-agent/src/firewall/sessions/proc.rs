//! Reads who is connected from /proc: the kernel's tables of sockets, and what processes were told at their start.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use pando_model::firewall::CONTROL_PORT;

use super::Sessions;

/// The environment of a process may be as large as its owner likes.
const LONGEST_ENVIRONMENT: u64 = 1024 * 1024;

/// Of this process's network. What can't be read is as if it were not there. Blocking.
pub(crate) fn look() -> Sessions {
    let sockets: Vec<Socket> = ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .iter()
        .flat_map(|path| sockets(&fs::read_to_string(path).unwrap_or_default()))
        .collect();
    let established = sockets.iter().filter(|socket| socket.state == State::Established);
    let pids: Vec<String> = pids().collect();
    let waiting = waiting_ssh_servers(&pids);
    let listening = || {
        let listening = sockets.iter().filter(|socket| socket.state == State::Listening);
        listening.filter(|socket| !socket.here.ip().is_loopback())
    };
    let ssh = listening().filter(|socket| waiting.contains(&socket.inode));
    Sessions {
        established: established.map(|socket| (socket.here, socket.there)).collect(),
        logins: pids.iter().filter_map(|pid| login(&environment(pid)?)).collect(),
        ssh_ports: ssh.map(|socket| socket.here.port()).collect(),
        serves_api: listening().any(|socket| socket.here.port() == CONTROL_PORT),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Established,
    Listening,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) here: SocketAddr,
    pub(super) there: SocketAddr,
    pub(super) state: State,
    pub(super) inode: u64,
}

/// A table such as /proc/net/tcp, with a heading.
pub(super) fn sockets(table: &str) -> Vec<Socket> {
    table.lines().skip(1).filter_map(socket).collect()
}

fn socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let state = match *fields.get(3)? {
        "01" => State::Established,
        "0A" => State::Listening,
        _ => State::Other,
    };
    let inode = fields.get(9)?.parse().ok()?;
    Some(Socket { here: address(fields.get(1)?)?, there: address(fields.get(2)?)?, state, inode })
}

/// `0100007F:1F90`: words of 32 bits in the machine's own order of bytes, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let bytes: Vec<u8> = words
        .as_bytes()
        .chunks(8)
        .filter_map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok())
        .flat_map(u32::to_ne_bytes)
        .collect();
    let ip = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn pids() -> impl Iterator<Item = String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

fn environment(pid: &str) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = fs::File::open(Path::new("/proc").join(pid).join("environ")).ok()?;
    file.take(LONGEST_ENVIRONMENT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// `SSH_CONNECTION=CLIENT PORT SERVER PORT`, as an SSH server tells everything that it starts for somebody who has logged in.
pub(super) fn login(environment: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let mut values = environment.split(|byte| *byte == 0);
    let value = values.find_map(|value| value.strip_prefix(b"SSH_CONNECTION="))?;
    let mut fields = std::str::from_utf8(value).ok()?.split(' ');
    let mut place = || {
        // A link-local address carries its interface: `fe80::1%eth0`.
        let ip = fields.next()?.split('%').next()?.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(ip.to_canonical(), fields.next()?.parse().ok()?))
    };
    let there = place()?;
    Some((place()?, there))
}

/// The sockets that processes called `sshd` hold.
fn waiting_ssh_servers(pids: &[String]) -> BTreeSet<u64> {
    let named = |pid: &&String| {
        let name = fs::read_to_string(Path::new("/proc").join(pid).join("comm"));
        name.is_ok_and(|name| name.trim_end() == "sshd")
    };
    let held = |pid: &String| {
        let files = fs::read_dir(Path::new("/proc").join(pid).join("fd")).into_iter().flatten().flatten();
        files.filter_map(|file| inode(fs::read_link(file.path()).ok()?.to_str()?)).collect::<Vec<u64>>()
    };
    pids.iter().filter(named).flat_map(held).collect()
}

/// Of `socket:[12345]`.
fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}
