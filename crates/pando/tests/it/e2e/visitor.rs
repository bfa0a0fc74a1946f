//! Visitors who load pages, and the assets that these name: each page names those of the release that made it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// Some at once, until they are stopped. Each keeps the first page that it got, as a tab that stays open does.
pub(crate) struct Visitors {
    at: Site,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<BTreeMap<String, u64>>>,
    assets: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

/// Where pages are asked for.
#[derive(Debug, Clone)]
struct Site {
    host: String,
    address: String,
}

impl Site {
    /// Every request is a connection of its own, and so anybody's: status and release of the answer, and its body.
    fn get(&self, path: &str) -> Result<(u16, String, String), String> {
        let failed = |error: std::io::Error| format!("{path}: {error}");
        let mut stream = TcpStream::connect(&self.address).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.host);
        stream.write_all(request.as_bytes()).map_err(failed)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(failed)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("{path}: {answer:?}"))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut headers = head.lines().filter_map(|line| line.split_once(": "));
        let release = headers.find(|(name, _)| name.eq_ignore_ascii_case("x-hits-release"));
        Ok((status, release.map(|(_, value)| value.to_owned()).unwrap_or_default(), body.to_owned()))
    }

    /// The release that made the page.
    fn page(&self) -> Result<String, String> {
        match self.get("/")? {
            (200, release, _) => Ok(release),
            (status, release, _) => Err(format!("a page of {release}: {status}")),
        }
    }

    /// The asset of a release's pages, whichever replica answers.
    fn asset(&self, of: &str) -> Result<(), String> {
        let path = format!("/assets/app-{of}.css");
        match self.get(&path)? {
            (200, _, body) if body == of => Ok(()),
            (status, by, body) => Err(format!("{path} from a replica of {by}: {status} {body:?}")),
        }
    }
}

impl Visitors {
    pub(crate) fn start(host: &str, address: &str, count: usize) -> Self {
        let at = Site { host: host.to_owned(), address: address.to_owned() };
        let mut visitors = Self {
            at,
            stop: Arc::default(),
            seen: Arc::default(),
            assets: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..count {
            let (at, stop) = (visitors.at.clone(), Arc::clone(&visitors.stop));
            let (seen, assets) = (Arc::clone(&visitors.seen), Arc::clone(&visitors.assets));
            visitors.threads.push(std::thread::spawn(move || visit(&at, &stop, &seen, &assets)));
        }
        visitors
    }

    /// Until so many more assets were had.
    pub(crate) fn wait_for_assets(&self, more: u64) {
        let goal = self.assets.load(Ordering::Relaxed) + more;
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.assets.load(Ordering::Relaxed) < goal {
            assert!(Instant::now() < deadline, "the visitors get nowhere");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Insists that nobody missed anything, and that each of these releases made pages.
    #[track_caller]
    pub(crate) fn stop_content(self, releases: &[&str]) {
        // Who misses something is told: nobody has this.
        assert!(self.at.asset("of-nobody").is_err());
        self.stop.store(true, Ordering::Relaxed);
        let missed: Vec<String> =
            self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let (seen, assets) = (self.seen.lock().unwrap(), self.assets.load(Ordering::Relaxed));
        println!("pages by release {seen:?}; {assets} assets, {} missing", missed.len());
        assert!(missed.is_empty(), "{} of {assets}: {:#?}", missed.len(), &missed[..missed.len().min(20)]);
        assert_eq!(seen.keys().collect::<Vec<_>>(), releases);
    }
}

/// What could not be had.
fn visit(
    at: &Site,
    stop: &AtomicBool,
    seen: &Mutex<BTreeMap<String, u64>>,
    assets: &AtomicU64,
) -> Vec<String> {
    let mut missed = Vec::new();
    let mut open = None;
    while !stop.load(Ordering::Relaxed) {
        let release = match at.page() {
            Ok(release) => release,
            Err(why) => {
                missed.push(why);
                continue;
            }
        };
        *seen.lock().unwrap().entry(release.clone()).or_default() += 1;
        for of in [&release, open.get_or_insert_with(|| release.clone())] {
            missed.extend(at.asset(of).err());
            assets.fetch_add(1, Ordering::Relaxed);
        }
    }
    missed
}
