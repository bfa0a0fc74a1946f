//! Sends HTTP/1.1 requests at a fixed mean rate and tells how long answers took; or, over TLS, as many as possible ([`closed`]).
//!
//! Requests come at random times (a Poisson process), as those of many independent clients do, whether or not earlier ones
//! are answered. One that must wait because its connection still waits for an answer counts from when it was due. A thread for each
//! connection sleeps until the next request is due; how late the system wakes it is not counted.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use random::Random;
use response::Response;

mod closed;
mod random;
mod response;

const USAGE: &str = "usage: pace REQUEST_FILE ADDRESS:PORT REQUESTS_PER_SECOND CONNECTIONS SECONDS
       pace tls|handshakes REQUEST_FILE ADDRESS:PORT CONNECTIONS SECONDS";
/// Enough for a connection's one buffer and a few calls.
const STACK: usize = 128 * 1024;
/// An answer that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For all connections to be open before the first request is due.
const LEAD: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let told = match words.first().map(String::as_str) {
        Some(kind @ ("tls" | "handshakes")) => {
            closed(&words[1..], kind == "handshakes").and_then(|load| load.run().map_err(|it| it.to_string()))
        }
        _ => Order::parse(&words).and_then(|order| run(&order)),
    };
    match told {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("pace: {message}");
            ExitCode::FAILURE
        }
    }
}

/// What is to be sent, and when.
struct Order {
    request: Arc<[u8]>,
    to: SocketAddr,
    rate: f64,
    connections: u32,
    duration: Duration,
}

impl Order {
    fn parse(words: &[String]) -> Result<Self, String> {
        let [file, to, rate, connections, seconds] = words else { return Err(USAGE.to_owned()) };
        let request = std::fs::read(file).map_err(|error| format!("can't read {file}: {error}"))?;
        Ok(Self {
            request: request.into(),
            to: to.parse().map_err(|error| wrong(to, &error))?,
            rate: rate.parse().map_err(|error| wrong(rate, &error))?,
            connections: connections.parse().map_err(|error| wrong(connections, &error))?,
            duration: Duration::from_secs(seconds.parse().map_err(|error| wrong(seconds, &error))?),
        })
    }
}

fn closed(words: &[String], afresh: bool) -> Result<closed::Closed, String> {
    let [file, to, connections, seconds] = words else { return Err(USAGE.to_owned()) };
    let request = std::fs::read(file).map_err(|error| format!("can't read {file}: {error}"))?;
    Ok(closed::Closed {
        request: request.into(),
        to: to.parse().map_err(|error| wrong(to, &error))?,
        connections: connections.parse().map_err(|error| wrong(connections, &error))?,
        duration: Duration::from_secs(seconds.parse().map_err(|error| wrong(seconds, &error))?),
        afresh,
    })
}

fn wrong(word: &str, error: &dyn Display) -> String {
    format!("`{word}`: {error}\n{USAGE}")
}

fn run(order: &Order) -> Result<String, String> {
    let start = Instant::now() + LEAD;
    let threads: Vec<_> = (0..order.connections)
        .map(|number| {
            let client = Client {
                request: Arc::clone(&order.request),
                to: order.to,
                mean_gap: f64::from(order.connections) / order.rate,
                end: start + order.duration,
                random: Random::seeded(u64::from(number)),
            };
            thread::Builder::new().stack_size(STACK).spawn(move || client.run(start))
        })
        .collect::<Result<_, _>>()
        .map_err(|error| format!("can't start a thread: {error}"))?;
    let mut all = Tally::default();
    for thread in threads {
        let tally = thread.join().map_err(|_| "a thread panicked")?;
        all.failed += tally.failed;
        all.micros.extend(tally.micros);
    }
    Ok(all.report())
}

/// One connection and its requests.
struct Client {
    request: Arc<[u8]>,
    to: SocketAddr,
    /// Seconds between two requests, on average.
    mean_gap: f64,
    end: Instant,
    random: Random,
}

impl Client {
    fn run(mut self, start: Instant) -> Tally {
        let mut tally = Tally::default();
        let mut connection = self.connect().ok();
        let mut due = start;
        loop {
            due += Duration::from_secs_f64(self.random.exponential() * self.mean_gap);
            if due >= self.end {
                return tally;
            }
            let began = wait_until(due);
            match self.ask(&mut connection) {
                Ok(()) => tally.micros.push(micros(began.elapsed())),
                Err(_) => {
                    tally.failed += 1;
                    connection = None;
                }
            }
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.to, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(stream)
    }

    fn ask(&self, connection: &mut Option<TcpStream>) -> io::Result<()> {
        let stream = match connection {
            Some(stream) => stream,
            None => connection.insert(self.connect()?),
        };
        stream.write_all(&self.request)?;
        let mut response = Response::default();
        let mut buffer = [0; 16 * 1024];
        while !response.is_whole() {
            match stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => response.take(&buffer[..read])?,
            }
        }
        Ok(())
    }
}

/// Waits for a request's time. Returns from when it counts: from when it was due if that has passed already, else from now.
fn wait_until(due: Instant) -> Instant {
    let now = Instant::now();
    if now >= due {
        return due;
    }
    thread::sleep(due - now);
    Instant::now()
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// What became of requests.
#[derive(Default)]
struct Tally {
    micros: Vec<u32>,
    failed: u64,
}

impl Tally {
    /// One line: counts, and percentiles in microseconds.
    fn report(mut self) -> String {
        self.micros.sort_unstable();
        let [p50, p99, p999] = [500, 990, 999].map(|per_mille| self.percentile(per_mille));
        format!("answered {} failed {} p50 {p50} p99 {p99} p999 {p999}", self.micros.len(), self.failed)
    }

    /// The smallest time that this many of a thousand answers did not exceed; 0 without any.
    fn percentile(&self, per_mille: usize) -> u32 {
        let rank = (self.micros.len() * per_mille).div_ceil(1000);
        self.micros.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn percentiles_are_values_that_so_many_did_not_exceed() {
        let tally = Tally { micros: (1..=2000).rev().collect(), failed: 3 };
        assert_eq!(tally.report(), "answered 2000 failed 3 p50 1000 p99 1980 p999 1998");
        assert_eq!(Tally::default().report(), "answered 0 failed 0 p50 0 p99 0 p999 0");
    }
}
