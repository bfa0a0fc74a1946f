use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use pando_model::release::ReleaseNumber;
use sha2::Digest as _;
use tempfile::TempDir;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// What a source does with one request.
#[derive(Debug, Clone)]
enum Answer {
    Whole,
    /// Breaks off after so many bytes.
    Break(usize),
    Fail(SourceError),
    /// Other bytes, as many.
    Wrong,
    /// Nothing, ever, after so many bytes.
    Hang(usize),
}

/// A source that answers as told, then whole; it notes the offsets that it was asked for.
#[derive(Clone)]
struct Script {
    content: Bytes,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    offsets: Arc<Mutex<Vec<u64>>>,
}

impl ArtifactSource for Script {
    async fn fetch(&self, _: &Digest, offset: u64, _: Whom) -> Result<Sent, SourceError> {
        self.offsets.lock().unwrap().push(offset);
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Whole);
        let rest = self.content.slice(usize::try_from(offset).unwrap()..);
        let away = SourceError::Away("gone".to_owned());
        let left = Some(rest.len() as u64);
        let pieces = |items: Vec<Result<Bytes, SourceError>>| -> Pieces {
            Box::pin(futures_util::stream::iter(items))
        };
        let sent = |pieces| Ok(Sent { left, pieces });
        match answer {
            Answer::Whole => sent(pieces(vec![Ok(rest)])),
            Answer::Break(length) => sent(pieces(vec![Ok(rest.slice(..length)), Err(away)])),
            Answer::Fail(error) => Err(error),
            Answer::Wrong => sent(pieces(vec![Ok(Bytes::from(vec![7; rest.len()]))])),
            Answer::Hang(length) => {
                use futures_util::StreamExt;
                sent(Box::pin(pieces(vec![Ok(rest.slice(..length))]).chain(futures_util::stream::pending())))
            }
        }
    }
}

fn packed(files: &[(&str, &[u8])]) -> (Bytes, Digest) {
    let mut pack = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        pack.append_data(&mut header, path, *content).unwrap();
    }
    let bytes = Bytes::from(pack.into_inner().unwrap().finish().unwrap());
    let digest = Digest::new(hex::encode(sha2::Sha256::digest(&bytes))).unwrap();
    (bytes, digest)
}

struct Bench {
    directory: TempDir,
    source: Script,
    digest: Digest,
    events: mpsc::Receiver<Event>,
    releases: Releases<Script>,
    tasks: Tasks,
}

impl Bench {
    fn new(answers: Vec<Answer>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::at(directory, answers, packed(&[("bin/web", b"#!/bin/sh\n"), ("big", &noise(100_000))]))
    }

    fn at(directory: TempDir, answers: Vec<Answer>, (content, digest): (Bytes, Digest)) -> Self {
        let source = Script {
            content,
            answers: Arc::new(Mutex::new(answers.into())),
            offsets: Arc::new(Mutex::new(Vec::new())),
        };
        let (sender, events) = mpsc::channel(16);
        let tasks = Tasks::new(&Shutdown::new());
        let setup = Setup {
            directory: directory.path().join("releases"),
            users: false,
            source: source.clone(),
            limits: Limits::default(),
            containers: None,
            engine: directory.path().join("no-engine.sock"),
        };
        let releases = Releases::new(setup, tasks.clone(), sender);
        releases.scan().unwrap();
        Self { directory, source, digest, events, releases, tasks }
    }

    /// The agent is started again over the same disk.
    async fn reopen(self, answers: Vec<Answer>) -> Self {
        assert!(self.tasks.finish(DEADLINE).await, "work went on after the agent was stopped");
        Self::at(self.directory, answers, (self.source.content, self.digest))
    }

    fn release(&self, number: u64) -> AssignedRelease {
        AssignedRelease {
            app: "hits".parse().unwrap(),
            release: ReleaseNumber(number),
            artifact: Some(self.digest.clone()),
            image: None,
            prepare: None,
            asset_path: None,
            env: BTreeMap::new(),
        }
    }

    async fn next(&mut self) -> Event {
        tokio::time::timeout(DEADLINE, self.events.recv()).await.expect("an event in time").unwrap()
    }

    /// Orders a release and waits for what comes of it.
    async fn ensure(&mut self, number: u64) -> Event {
        self.releases.order(Order::Ensure(self.release(number)));
        loop {
            match self.next().await {
                Event::ReleaseFetched(_) => {}
                other => return other,
            }
        }
    }

    async fn seal(&mut self, number: u64) {
        self.releases.order(Order::Seal(self.release(number)));
        assert_eq!(self.next().await, Event::ReleaseReady(key(number)));
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.directory.path().join("releases").join(path)
    }

    fn offsets(&self) -> Vec<u64> {
        self.source.offsets.lock().unwrap().clone()
    }
}

/// Bytes that don't compress.
fn noise(count: u32) -> Vec<u8> {
    (0..count)
        .map(|n| u8::try_from(n.wrapping_mul(2_654_435_761).rotate_left(n % 7) >> 24).unwrap())
        .collect()
}

fn key(number: u64) -> ReleaseKey {
    ("hits".parse().unwrap(), ReleaseNumber(number))
}

fn message(event: Event) -> String {
    match event {
        Event::ReleaseFailed { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_release_is_fetched_unpacked_and_sealed() {
    let mut bench = Bench::new(vec![]);
    bench.releases.order(Order::Ensure(bench.release(1)));
    assert_eq!(bench.next().await, Event::ReleaseFetched(key(1)));
    assert_eq!(bench.next().await, Event::ReleaseUnpacked(key(1)));
    assert!(bench.path("hits/v1.tmp/bin/web").exists() && !bench.path("hits/v1").exists());
    bench.seal(1).await;
    assert_eq!(fs::read_to_string(bench.path("hits/v1/bin/web")).unwrap(), "#!/bin/sh\n");
    let sealed = OnDisk { release: key(1), sealed: Some(bench.digest.clone()) };
    assert_eq!(bench.releases.scan().unwrap(), [sealed]);
    assert_eq!(bench.ensure(1).await, Event::ReleaseReady(key(1)), "nothing is left to do");
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke() {
    let away = Answer::Fail(SourceError::Away("no route".to_owned()));
    let mut bench = Bench::new(vec![Answer::Break(1000), away, Answer::Break(500)]);
    assert_eq!(bench.ensure(1).await, Event::ReleaseUnpacked(key(1)));
    assert_eq!(bench.offsets(), [0, 1000, 1000, 1500]);
}

#[tokio::test]
async fn a_download_goes_on_after_a_restart_of_the_agent() {
    let bench = Bench::new(vec![Answer::Hang(2000)]);
    bench.releases.order(Order::Ensure(bench.release(1)));
    let part = bench.path(&format!(".fetched/{}.part", bench.digest));
    settle(|| part.metadata().is_ok_and(|part| part.len() == 2000)).await;
    let mut bench = bench.reopen(vec![]).await;
    assert_eq!(bench.ensure(1).await, Event::ReleaseUnpacked(key(1)));
    assert_eq!(bench.offsets(), [2000]);
}

#[tokio::test]
async fn a_source_that_can_not_go_on_is_asked_anew() {
    let restart = Answer::Fail(SourceError::Restart("no ranges".to_owned()));
    let mut bench = Bench::new(vec![Answer::Break(1000), restart]);
    assert_eq!(bench.ensure(1).await, Event::ReleaseUnpacked(key(1)));
    assert_eq!(bench.offsets(), [0, 1000, 0]);
}

#[tokio::test]
async fn content_is_believed_by_its_digest_alone() {
    let mut bench = Bench::new(vec![Answer::Wrong]);
    assert_eq!(bench.ensure(1).await, Event::ReleaseUnpacked(key(1)), "once may be a damaged disk");
    let mut bench = Bench::new(vec![Answer::Wrong, Answer::Wrong]);
    let said = message(bench.ensure(1).await);
    assert!(said.contains("doesn't have this digest"), "{said}");
    assert!(!bench.path("hits/v1.tmp").exists());
    assert_eq!(
        fs::read_dir(bench.path(".fetched"))
            .unwrap()
            .map(|e| e.unwrap().metadata().unwrap().len())
            .sum::<u64>(),
        0
    );
}

#[tokio::test]
async fn a_refusal_is_said_at_once() {
    let refused = SourceError::Refused("there is no such artifact".to_owned());
    let mut bench = Bench::new(vec![Answer::Fail(refused)]);
    let said = message(bench.ensure(1).await);
    assert_eq!(said, "can't fetch the packed release: there is no such artifact");
}

#[tokio::test]
async fn a_release_of_the_same_content_needs_no_network() {
    let mut bench = Bench::new(vec![]);
    assert_eq!(bench.ensure(1).await, Event::ReleaseUnpacked(key(1)));
    bench.seal(1).await;
    assert_eq!(bench.ensure(2).await, Event::ReleaseUnpacked(key(2)));
    assert_eq!(bench.offsets(), [0]);
    for artifacts in [BTreeSet::from([bench.digest.clone()]), BTreeSet::new()] {
        bench.releases.hold(Some(Needs { artifacts, ..Needs::default() }));
        bench.releases.sweep();
    }
    let packed = bench.path(".fetched").join(bench.digest.as_str());
    settle(|| !packed.exists()).await;
}

#[tokio::test]
async fn what_is_here_does_not_wait_for_a_source_that_is_away() {
    let mut bench = Bench::new(vec![Answer::Whole, Answer::Hang(10)]);
    assert_eq!(bench.ensure(1).await, Event::ReleaseUnpacked(key(1)));
    let mut other = bench.release(2);
    other.artifact = Digest::new("0".repeat(64)).ok();
    bench.releases.order(Order::Ensure(other));
    settle(|| bench.source.offsets.lock().unwrap().len() == 2).await;
    assert_eq!(bench.ensure(3).await, Event::ReleaseUnpacked(key(3)));
}

#[tokio::test]
async fn a_removal_ends_the_work_and_leaves_nothing() {
    let mut bench = Bench::new(vec![Answer::Hang(10)]);
    bench.releases.order(Order::Ensure(bench.release(1)));
    settle(|| bench.source.offsets.lock().unwrap().len() == 1).await;
    bench.releases.order(Order::Remove(key(1)));
    assert_eq!(message(bench.next().await), "stopped before it was done");
    assert_eq!(bench.next().await, Event::ReleaseRemoved(key(1)));
    assert_eq!(bench.ensure(1).await, Event::ReleaseUnpacked(key(1)));
    bench.seal(1).await;
    bench.releases.order(Order::Remove(key(1)));
    assert_eq!(bench.next().await, Event::ReleaseRemoved(key(1)));
    assert!(!bench.path("hits").exists());
    assert_eq!(bench.releases.scan().unwrap(), []);
}

#[tokio::test]
async fn what_a_crash_left_is_cleared() {
    let mut bench = Bench::new(vec![]);
    fs::create_dir_all(bench.path("hits/v1.tmp/half")).unwrap();
    fs::create_dir_all(bench.path("hits/v2/renamed-not-sealed")).unwrap();
    fs::create_dir_all(bench.path("hits/v3")).unwrap();
    fs::write(bench.path("hits/v3.json"), "{\"artif").unwrap();
    fs::write(bench.path("hits/v4.json"), "{}").unwrap();
    fs::create_dir_all(bench.path("hits/notes")).unwrap();
    let found = bench.releases.scan().unwrap();
    let expected: Vec<OnDisk> = (1..=4).map(|n| OnDisk { release: key(n), sealed: None }).collect();
    assert_eq!(found, expected);
    for number in [1, 2, 3] {
        assert_eq!(bench.ensure(number).await, Event::ReleaseUnpacked(key(number)));
        bench.seal(number).await;
    }
    assert!(!bench.path("hits/v2/renamed-not-sealed").exists() && !bench.path("hits/v1/half").exists());
}

#[tokio::test]
async fn a_bad_archive_is_refused_and_its_half_removed() {
    let mut pack = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut fine = tar::Header::new_gnu();
    fine.set_mode(0o644);
    fine.set_size(0);
    pack.append_data(&mut fine, "fine", &[][..]).unwrap();
    let mut pipe = tar::Header::new_gnu();
    pipe.set_entry_type(tar::EntryType::Fifo);
    pipe.set_mode(0o644);
    pipe.set_size(0);
    pack.append_data(&mut pipe, "pipe", &[][..]).unwrap();
    let bytes = Bytes::from(pack.into_inner().unwrap().finish().unwrap());
    let digest = Digest::new(hex::encode(sha2::Sha256::digest(&bytes))).unwrap();
    let mut bench = Bench::at(tempfile::tempdir().unwrap(), vec![], (bytes, digest));
    let said = message(bench.ensure(1).await);
    assert!(said.contains("`pipe`, which is a named pipe"), "{said}");
    assert!(!bench.path("hits/v1.tmp").exists());
}

#[test]
fn a_full_disk_is_called_by_its_name() {
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let said = disk::disk_error("write", Path::new("/r/hits/v1.tmp/x"), full).to_string();
    assert!(said.starts_with("no space left on the disk for `/r/hits/v1.tmp/x`"), "{said}");
}

/// On a file system of 1 MB of its own, where this machine lets us have one.
#[tokio::test]
async fn a_full_disk_stops_one_release_and_leaves_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let mount = |args: &[&str]| Command::new("mount").args(args).arg(directory.path()).status();
    if !mount(&["-t", "tmpfs", "-o", "size=1m", "pando-test"]).is_ok_and(|status| status.success()) {
        return;
    }
    let path = directory.path().to_owned();
    let mut bench = Bench::at(directory, vec![], packed(&[("file", &noise(100_000))]));
    assert_eq!(bench.ensure(1).await, Event::ReleaseUnpacked(key(1)));
    bench.seal(1).await;
    // It comes whole and does not fit once it is unpacked.
    let (content, digest) = packed(&[("zeros", &vec![0; 2_000_000])]);
    let mut bench = Bench { digest, source: bench.source, ..bench };
    bench.source.content = content.clone();
    let setup = Setup {
        directory: path.join("releases"),
        users: false,
        source: bench.source.clone(),
        limits: Limits::default(),
        containers: None,
        engine: path.join("no-engine.sock"),
    };
    let (sender, events) = mpsc::channel(16);
    bench.releases = Releases::new(setup, bench.tasks.clone(), sender);
    bench.events = events;
    let said = message(bench.ensure(2).await);
    let left = (bench.path("hits/v2.tmp").exists(), bench.path("hits/v1/file").exists());
    let unmounted = Command::new("umount").arg("--lazy").arg(&path).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert!(said.contains("no space left on the disk"), "{said}");
    assert_eq!(left, (false, true));
}

/// Waits until something holds.
async fn settle(mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("it holds in time");
}
