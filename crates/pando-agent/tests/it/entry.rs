//! The load balancer comes and goes with the assignment.

use std::collections::BTreeSet;
use std::error::Error;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use pando_agent::EntryKeeper;
use pando_model::AgentReport;
use pando_model::assignment::{Assignment, Entry};
use pando_model::id::Version;
use tokio::sync::Semaphore;

use crate::bench::{Bench, until};
use crate::links::{acknowledged, table};
use crate::proxy::Proxy;

/// Starts and ends the proxy that a test plays.
struct Keeper {
    proxy: Proxy,
    asked: Mutex<Vec<bool>>,
    runs: AtomicBool,
    broken: AtomicBool,
    /// To end takes one of these.
    ends: Semaphore,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeper")
    }
}

impl EntryKeeper for Keeper {
    fn keep(&self, wanted: bool) -> BoxFuture<'_, Result<(), Box<dyn Error + Send + Sync>>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(wanted);
            if self.broken.load(SeqCst) {
                return Err("port 80 is taken".into());
            }
            if wanted && !self.runs.swap(true, SeqCst) {
                self.proxy.start();
            }
            if !wanted && self.runs.load(SeqCst) {
                self.ends.acquire().await.unwrap().forget();
                self.proxy.stop().await;
                self.runs.store(false, SeqCst);
            }
            Ok(())
        })
    }
}

async fn bench() -> (Bench, Arc<Keeper>) {
    let bench = Bench::new().await.with_proxy();
    let keeper = Arc::new(Keeper {
        proxy: bench.proxy.clone(),
        asked: Mutex::default(),
        runs: AtomicBool::new(false),
        broken: AtomicBool::new(false),
        ends: Semaphore::new(0),
    });
    (bench.with_keeper(keeper.clone()), keeper)
}

fn with_entry(bench: &Bench, revision: u64, entry: Option<bool>) -> Assignment {
    let entry = entry.map(|prefer_local| Entry { prefer_local });
    Assignment { entry, ..bench.assignment(revision, &[]) }
}

fn near() -> Option<String> {
    Some("main".to_owned())
}

#[tokio::test]
async fn a_load_balancer_is_started_told_what_is_near_and_ended() {
    let (mut bench, keeper) = bench().await;
    bench.start_agent().await;
    bench.control.publish(table(1));
    let body = bench.control.until("a report", |_| true).await;
    assert_eq!(body.report.proxy, None);
    bench.control.assign(with_entry(&bench, 1, Some(true)));
    bench.control.until("acknowledged", acknowledged(1)).await;
    // It may have been met by the table before it was told what is near.
    assert_eq!(bench.proxy.localities().last(), Some(&near()));
    // The same table, for a balancer that treats all alike.
    let before = bench.proxy.pushed().len();
    bench.control.assign(with_entry(&bench, 2, Some(false)));
    bench.proxy.until_pushed(before + 1).await;
    assert!(bench.proxy.pushed().iter().all(|revision| *revision == 1));
    assert_eq!(bench.proxy.localities().last(), Some(&None));
    // It is told of as long as it finishes requests.
    bench.control.assign(with_entry(&bench, 3, None));
    until("asked to end", || keeper.asked.lock().unwrap().last() == Some(&false)).await;
    bench.control.forget_reports();
    bench.control.publish(table(2));
    bench.control.until("acknowledged", acknowledged(2)).await;
    keeper.ends.add_permits(1);
    bench.control.until("gone", |report| report.proxy.is_none()).await;
    // And comes back.
    bench.control.assign(with_entry(&bench, 4, Some(true)));
    bench.control.until("acknowledged", acknowledged(2)).await;
    assert_eq!(bench.proxy.localities().last(), Some(&near()));
    bench.stop_agent().await;
}

#[tokio::test]
async fn one_that_nobody_keeps_any_more_is_started_again() {
    let (mut bench, keeper) = bench().await;
    bench.start_agent().await;
    bench.control.publish(table(1));
    bench.control.assign(with_entry(&bench, 1, Some(true)));
    bench.control.until("acknowledged", acknowledged(1)).await;
    // Its keeper is killed, and then it is too.
    bench.proxy.stop().await;
    keeper.runs.store(false, SeqCst);
    until("started again", || keeper.runs.load(SeqCst)).await;
    bench.control.publish(table(2));
    bench.control.until("acknowledged", acknowledged(2)).await;
    bench.stop_agent().await;
}

fn secrets_file(bench: &Bench) -> PathBuf {
    bench.directory.path().join("ledger/secrets.json")
}

#[tokio::test]
async fn keys_come_with_an_entry_and_go_with_its_load_balancer() {
    let (mut bench, keeper) = bench().await;
    let file = secrets_file(&bench);
    bench.start_agent().await;
    bench.control.assign(with_entry(&bench, 1, None));
    bench.control.publish_with_keys(table(1), "a");
    bench.control.until("told", |report| report.assignment == Version::new(1, 1)).await;
    until("kept", || bench.directory.path().join("ledger/table.json").exists()).await;
    assert!(!file.exists(), "this server has no use for keys");
    bench.control.assign(with_entry(&bench, 2, Some(false)));
    bench.control.until("acknowledged", acknowledged(1)).await;
    until("kept", || file.exists()).await;
    // Published while it ends: it finishes its requests by the newest table.
    bench.control.assign(with_entry(&bench, 3, None));
    until("asked to end", || keeper.asked.lock().unwrap().last() == Some(&false)).await;
    bench.control.publish_with_keys(table(2), "b");
    bench.control.until("acknowledged", acknowledged(2)).await;
    assert!(file.exists());
    keeper.ends.add_permits(1);
    until("forgotten", || !file.exists()).await;
    bench.control.forget_reports();
    // Back again, it is told them at once.
    let began = Instant::now();
    bench.control.assign(with_entry(&bench, 4, Some(false)));
    bench.control.until("acknowledged", acknowledged(2)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let pushed: BTreeSet<_> = bench.proxy.keys_pushed().into_iter().collect();
    let wanted = [(1, "a"), (2, "a"), (2, "b")].map(|(revision, mark)| (revision, mark.to_owned()));
    assert_eq!(pushed, wanted.into());
    bench.stop_agent().await;
}

#[tokio::test]
async fn keys_that_were_kept_serve_without_control_and_are_gone_where_nobody_needs_them() {
    let (mut bench, keeper) = bench().await;
    keeper.ends.add_permits(1);
    let file = secrets_file(&bench);
    bench.start_agent().await;
    bench.control.assign(with_entry(&bench, 1, Some(false)));
    bench.control.publish_with_keys(table(1), "a");
    bench.control.until("acknowledged", acknowledged(1)).await;
    until("kept", || file.exists()).await;
    let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    bench.control.go_away().await;
    bench.stop_agent().await;
    bench.proxy.stop().await;
    bench.proxy.start();
    let before = bench.proxy.pushed().len();
    bench.start_agent().await;
    bench.proxy.until_pushed(before + 1).await;
    assert_eq!(bench.proxy.keys_pushed().last(), Some(&(1, "a".to_owned())));
    bench.stop_agent().await;
    // Left behind by a server that is no entry point any more, and is started again before it could clean up.
    let left = std::fs::read(&file).unwrap();
    bench.control.come_back().await;
    bench.start_agent().await;
    bench.control.assign(with_entry(&bench, 2, None));
    bench.control.until("gone", |report| report.proxy.is_none()).await;
    until("forgotten", || !file.exists()).await;
    bench.stop_agent().await;
    std::fs::write(&file, left).unwrap();
    bench.start_agent().await;
    until("forgotten", || !file.exists()).await;
    bench.stop_agent().await;
}

#[tokio::test]
async fn what_stands_in_the_way_is_reported_and_tried_again() {
    let (mut bench, keeper) = bench().await;
    keeper.broken.store(true, SeqCst);
    bench.start_agent().await;
    bench.control.assign(with_entry(&bench, 1, Some(true)));
    let said = |report: &AgentReport| {
        report.warnings == ["can't start the load balancer of this server: port 80 is taken"]
    };
    let body = bench.control.until("a warning", said).await;
    assert!(!body.report.proxy.unwrap().alive);
    keeper.broken.store(false, SeqCst);
    let up = |report: &AgentReport| {
        report.warnings.is_empty() && report.proxy.as_ref().is_some_and(|proxy| proxy.alive)
    };
    bench.control.until("up", up).await;
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_start_without_control_speaks_at_once_with_what_runs_and_later_keeps_to_the_ledger() {
    let (mut bench, keeper) = bench().await;
    bench.start_agent().await;
    bench.control.publish(table(1));
    bench.control.assign(with_entry(&bench, 1, Some(true)));
    bench.control.until("acknowledged", acknowledged(1)).await;
    bench.control.go_away().await;
    bench.stop_agent().await;
    keeper.asked.lock().unwrap().clear();
    let began = Instant::now();
    bench.start_agent().await;
    bench.proxy.until_pushed(2).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(keeper.asked.lock().unwrap().is_empty());
    until("asked", || *keeper.asked.lock().unwrap() == [true]).await;
    assert!(began.elapsed() >= Duration::from_millis(4900), "{:?}", began.elapsed());
    bench.stop_agent().await;
}
