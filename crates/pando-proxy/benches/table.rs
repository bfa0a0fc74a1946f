//! How long a large table takes to be live: from the last byte of the upload to the first request that is routed by it.
//!
//! `cargo bench -p pando-proxy --bench table`. A whole proxy runs in this process, with its control socket and state file; each table
//! moves one host to another pool, and a client asks for that host until it is answered by the new one. Where other programs
//! keep the machine busy, the processor time says what it would take alone.

#![allow(clippy::unwrap_used, reason = "a measurement that can't go on ends")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use pando_proxy::{Listeners, Settings};
use pando_routing::{Endpoint, EndpointId, EndpointState, Pool, PoolId, Rule, Table, TableVersion};
use pando_rt::shutdown::Shutdown;
use uuid::Uuid;

const ROUTES: usize = 10_000;
const REPLICAS: usize = 10_000;
const ROUNDS: u64 = 21;

fn main() {
    println!("{ROUTES} routes, {REPLICAS} replicas; milliseconds, median (slowest) of {} swaps", ROUNDS - 1);
    for pools in [1, 1_000, 10_000] {
        measure(pools);
    }
}

/// With the first table, every replica is new.
fn measure(pools: usize) {
    let port = replicas();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let listeners = Listeners::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let state_file = Some(directory.path().join("table.json"));
    let settings =
        Settings { listeners, control_socket: Some(socket.clone()), state_file, ..Settings::default() };
    let shutdown = Shutdown::new();
    let ending = shutdown.clone();
    let proxy = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(pando_proxy::run(settings, ending)).unwrap();
    });
    let ids: Vec<_> = (0..REPLICAS).map(|_| EndpointId(Uuid::now_v7())).collect();
    let mut first = None;
    let (mut live, mut whole, mut processor) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for revision in 1..=ROUNDS {
        let table = serde_json::to_vec(&table(revision, pools, &ids, port)).unwrap();
        bytes = table.len();
        let before = processor_time();
        let (took, all) = swap(&socket, address, &table, revision);
        let spent = processor_time() - before;
        match first {
            None => first = Some(took),
            Some(_) => {
                live.push(took);
                whole.push(all);
                processor.push(spent);
            }
        }
        if revision == 1 {
            // The first looks at all of them are a matter of their own.
            std::thread::sleep(Duration::from_secs(2));
        }
    }
    println!(
        "{pools:>6} pools, {:.1} MB: live {}, acknowledged {}, processor {}; the first, with all replicas new: live {:.1}; resident {} MB",
        bytes as f64 / 1e6,
        told(&mut live),
        told(&mut whole),
        told(&mut processor),
        millis(first.unwrap()),
        resident()
    );
    shutdown.begin();
    proxy.join().unwrap();
}

fn told(all: &mut [Duration]) -> String {
    all.sort();
    format!("{:.1} ({:.1})", millis(all[all.len() / 2]), millis(all[all.len() - 1]))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Of this whole process: the proxy, and a client that mostly sleeps.
fn processor_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(spent.tv_sec).unwrap(), u32::try_from(spent.tv_nsec).unwrap())
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

fn table(revision: u64, pools: usize, ids: &[EndpointId], port: u16) -> Table {
    let pool_of = |n: usize| PoolId(format!("app-{}/web", n % pools));
    let mut table = Table { schema: 1, version: TableVersion { epoch: 1, revision }, ..Table::default() };
    for (n, id) in ids.iter().enumerate() {
        let place = u32::try_from(n).unwrap() + 0x7f01_0000;
        let endpoint = Endpoint {
            id: *id,
            address: SocketAddr::from((Ipv4Addr::from_bits(place), port)),
            name: format!("web-{n}"),
            locality: None,
            state: EndpointState::Active,
            weight: 1,
            priority: 0,
        };
        let pool = table.pools.entry(pool_of(n)).or_insert_with(|| {
            let mut pool = Pool::default();
            pool.probe.interval_millis = 10_000;
            pool
        });
        pool.endpoints.push(endpoint);
    }
    let rule = |host: String, pool: PoolId| {
        let rule = serde_json::json!({"host": host, "pool": pool});
        serde_json::from_value::<Rule>(rule).unwrap()
    };
    table.rules.extend((0..ROUTES - 1).map(|n| rule(format!("shop-{n}.example.com"), pool_of(n))));
    // Even revisions have the host, odd ones don't.
    let host = if revision.is_multiple_of(2) { "moving.example.com" } else { "elsewhere.example.com" };
    table.rules.push(rule(host.to_owned(), pool_of(0)));
    table
}

/// From the last byte of the table to the first request by it, and to the acknowledgement.
fn swap(socket: &Path, address: SocketAddr, table: &[u8], revision: u64) -> (Duration, Duration) {
    let mut control = loop {
        match UnixStream::connect(socket) {
            Ok(control) => break control,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let head = format!(
        "PUT /v1/table HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        table.len()
    );
    control.write_all(head.as_bytes()).unwrap();
    control.write_all(table).unwrap();
    let sent = Instant::now();
    let acknowledged = std::thread::spawn(move || {
        let mut answer = String::new();
        control.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        sent.elapsed()
    });
    let mut client = BufReader::new(TcpStream::connect(address).unwrap());
    client.get_ref().set_nodelay(true).unwrap();
    let wanted = revision.is_multiple_of(2);
    let live = loop {
        // What no rule matches gets 404, before the first table 503.
        let status = ask(&mut client);
        if revision == 1 && status != 503 || revision > 1 && (status != 404) == wanted {
            break sent.elapsed();
        }
        std::thread::sleep(Duration::from_micros(500));
    };
    (live, acknowledged.join().unwrap())
}

fn ask(client: &mut BufReader<TcpStream>) -> u16 {
    client.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: moving.example.com\r\n\r\n").unwrap();
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        client.read_line(&mut line).unwrap();
        let lower = line.to_ascii_lowercase();
        if let Some(rest) = lower.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().unwrap();
        } else if let Some(rest) = lower.strip_prefix("content-length:") {
            length = rest.trim().parse().unwrap();
        } else if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body).unwrap();
    status
}

/// One program plays all replicas: all of 127.0.0.0/8 is this machine.
fn replicas() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Probes only connect; one connection after the other is enough for the client.
            let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|count| count > 0) {
                if line.ends_with("\r\n\r\n") {
                    let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                    break;
                }
            }
        }
    });
    port
}
