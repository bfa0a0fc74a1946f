//! Replicas that go bad under load: whatever can be asked twice is answered, every time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use pando_routing::{Algorithm, PoolStats, ProbeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::support::{App, Origin, Proxy, TableBuilder, until, within};

const CLIENTS: usize = 8;

/// What a replica does instead of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Well,
    /// Takes requests, and does nothing more.
    Hangs,
    /// Says something that isn't HTTP.
    Babbles,
    /// Ends connections with a reset.
    Resets,
    /// Reads a request and says that it has nothing more to say.
    HalfCloses,
    /// Breaks off in the middle of the head.
    BreaksOff,
}

/// A replica that does as it is told, from one moment to the next; probes at `/up` too.
async fn moody(mood: watch::Receiver<Fault>, served: Arc<AtomicUsize>) -> Origin {
    Origin::start(move |stream, _| {
        let (mood, served) = (mood.clone(), served.clone());
        async move {
            // A client that breaks off is no concern of this.
            let _ = serve(stream, mood, served).await;
        }
    })
    .await
}

async fn serve(
    mut stream: TcpStream,
    mood: watch::Receiver<Fault>,
    served: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let now = *mood.borrow();
        match now {
            Fault::Well => {
                served.fetch_add(1, SeqCst);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
            }
            Fault::Hangs => std::future::pending().await,
            Fault::Babbles => {
                stream.write_all(b"\x15\x03\x03\x00\x02 what?\r\n\r\n").await?;
                return Ok(());
            }
            Fault::Resets => return stream.set_zero_linger(),
            Fault::HalfCloses => {
                stream.shutdown().await?;
                let _ = stream.read(&mut [0; 64]).await;
                return Ok(());
            }
            Fault::BreaksOff => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await?;
                return Ok(());
            }
        }
    }
}

/// Statuses of all answers that clients got until told to stop.
async fn load(proxy: Arc<Proxy>, clients: usize, stop: Arc<AtomicBool>) -> BTreeMap<u16, usize> {
    let ask = |proxy: Arc<Proxy>, stop: Arc<AtomicBool>| async move {
        let mut client = proxy.client().await;
        let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
        while !stop.load(SeqCst) {
            let response = client.get("/").await;
            *statuses.entry(response.status).or_default() += 1;
        }
        statuses
    };
    let asking: Vec<_> = (0..clients).map(|_| tokio::spawn(ask(proxy.clone(), stop.clone()))).collect();
    let mut all = BTreeMap::new();
    for one in asking {
        for (status, count) in within("a client ends", one).await.unwrap() {
            *all.entry(status).or_default() += count;
        }
    }
    all
}

/// By latency and probes, which see it first; then by turns, with probes that see nothing: there ejection does it.
async fn survives(fault: Fault) {
    let kind = ProbeKind::Http { path: "/up".to_owned(), host: None };
    survives_by(fault, Algorithm::PeakEwma, kind).await;
    if fault != Fault::Hangs {
        let pool = survives_by(fault, Algorithm::RoundRobin, ProbeKind::Tcp).await;
        assert_eq!(pool.ejections, 1, "{fault:?}");
        // Each failure costs one, or two where a connection was used before.
        assert!(
            (5..=2 * (5 + CLIENTS as u64)).contains(&pool.retries),
            "{fault:?}: {} retries",
            pool.retries
        );
    }
}

async fn survives_by(fault: Fault, algorithm: Algorithm, probe: ProbeKind) -> PoolStats {
    let (tell, mood) = watch::channel(Fault::Well);
    let (served, bad_served) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (_, always_well) = watch::channel(Fault::Well);
    let bad = moody(mood, bad_served.clone()).await;
    let good = [moody(always_well.clone(), served.clone()).await, moody(always_well, served.clone()).await];
    let bad_endpoint = bad.endpoint();
    let proxy = Arc::new(Proxy::start().await);
    let all = [bad_endpoint.clone(), good[0].endpoint(), good[1].endpoint()];
    let table = TableBuilder::serving(1, &all).adjust("web", |pool| {
        pool.algorithm = algorithm.clone();
        pool.probe.kind = probe;
        pool.probe.timeout_millis = 200;
    });
    proxy.put_ready(&table).await;
    let stop = Arc::new(AtomicBool::new(false));
    let loading = tokio::spawn(load(proxy.clone(), CLIENTS, stop.clone()));
    until("it serves", async || bad_served.load(SeqCst) > 60).await;

    tell.send(fault).unwrap();
    let id = bad_endpoint.id;
    proxy
        .wait_for_stats("it is out", |stats| {
            stats.not_in_rotation.contains(&id) || stats.ejected.iter().any(|one| one.endpoint == id)
        })
        .await;
    // What it holds is asked of others; only then may it be well again.
    proxy.wait_idle(id).await;
    let before = served.load(SeqCst);
    until("the others serve", async || served.load(SeqCst) > before + 200).await;
    tell.send(Fault::Well).unwrap();
    stop.store(true, SeqCst);
    let statuses = within("the load ends", loading).await.unwrap();
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{fault:?}: {statuses:?}");
    let pool = proxy.pool("web").await;
    assert_eq!(pool.failed, 0, "{fault:?}");
    println!(
        "{fault:?}, {algorithm:?}: {statuses:?}, {} retries, {} ejections",
        pool.retries, pool.ejections
    );
    pool
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs() {
    survives(Fault::Hangs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_answers_garbage() {
    survives(Fault::Babbles).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_resets() {
    survives(Fault::Resets).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_half_closes() {
    survives(Fault::HalfCloses).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_breaks_off_in_the_head() {
    survives(Fault::BreaksOff).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_stopped_and_started_again() {
    let apps = [App::named("a").await, App::named("b").await];
    let all: Vec<_> = apps.iter().map(|app| app.endpoint.clone()).collect();
    let proxy = Arc::new(Proxy::start().await);
    let table = TableBuilder::serving(1, &all).adjust("web", |pool| pool.algorithm = Algorithm::PeakEwma);
    proxy.put_ready(&table).await;
    let stop = Arc::new(AtomicBool::new(false));
    let loading = tokio::spawn(load(proxy.clone(), CLIENTS, stop.clone()));
    let requests = async || proxy.pool("web").await.requests;
    until("there is load", async || requests().await > 200).await;
    let [a, b] = apps;
    a.stop().await;
    let before = requests().await;
    until("the other serves", async || requests().await > before + 200).await;
    stop.store(true, SeqCst);
    let statuses = within("the load ends", loading).await.unwrap();
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{statuses:?}");
    drop(b);
}

/// One that takes connections and answers nothing, where no probe asks for an answer: its time-outs are failures, which is all
/// that may be told of requests that could have been done; five, and it gets no more.
#[tokio::test]
async fn one_that_hangs_unseen_by_its_probe_fails_as_many_as_eject_it() {
    let (_tell, mood) = watch::channel(Fault::Hangs);
    let bad = moody(mood, Arc::default()).await;
    let good = App::named("good").await;
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [bad.endpoint(), good.endpoint.clone()]);
    proxy.put_ready(&table.adjust("web", |pool| pool.timeouts.response_millis = 100)).await;
    let mut client = proxy.client().await;
    let began = Instant::now();
    let mut silent = 0;
    for _ in 0..40 {
        silent += usize::from(client.get("/").await.status == 504);
    }
    assert_eq!(silent, 5);
    assert!(began.elapsed() < Duration::from_secs(5));
    let stats = proxy.stats().await;
    assert_eq!(stats.ejected[0].text, "5 failures in a row, the last: no answer in time");
}
