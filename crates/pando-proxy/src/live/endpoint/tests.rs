use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use uuid::Uuid;

use super::*;

fn endpoint() -> Arc<Endpoint> {
    let idle = IdleLinks::new(1, 4, Duration::from_secs(50));
    let address = "127.0.0.1:1".parse().unwrap();
    Arc::new(Endpoint::new(EndpointId(Uuid::now_v7()), address, idle, Sequence::default()))
}

fn begin(endpoint: &Arc<Endpoint>) -> Result<Lease, NotBegun> {
    endpoint.begin(Begun { at: 0, most: u64::MAX, line: None, kept: false })
}

fn probe() -> Arc<Probe> {
    Arc::new(Probe::default())
}

#[test]
fn rotation_needs_a_pass_and_no_drain() {
    let endpoint = endpoint();
    endpoint.activate(&probe());
    assert!(!endpoint.in_rotation());
    endpoint.set_up(true);
    assert!(endpoint.in_rotation());
    endpoint.drain(1, 0);
    assert!(!endpoint.in_rotation());
    endpoint.activate(&probe());
    assert!(endpoint.in_rotation());
    endpoint.suspect();
    assert!(!endpoint.in_rotation());
}

#[test]
fn a_drained_endpoint_begins_nothing_and_tells_when_it_is_idle() {
    let endpoint = endpoint();
    let lease = begin(&endpoint).unwrap();
    assert_eq!(endpoint.in_flight(), 1);
    endpoint.drain(5, 0);
    assert!(begin(&endpoint).is_err());
    assert_eq!(endpoint.in_flight(), 1);
    let before = endpoint.sequence.now();
    drop(lease);
    assert_eq!(endpoint.in_flight(), 0);
    assert!(endpoint.sequence.now() > before);
}

#[test]
fn retiring_closes_tunnels_now_and_never_later_than_promised() {
    let endpoint = endpoint();
    endpoint.drain(500, 0);
    endpoint.retire(1_000);
    assert_eq!(endpoint.closing().borrow().map(|curfew| curfew.deadline), Some(500));
    endpoint.activate(&probe());
    assert_eq!(*endpoint.closing().borrow(), None);
    endpoint.retire(2_000);
    assert_eq!(endpoint.closing().borrow().map(|curfew| curfew.deadline), Some(2_000));
    assert_eq!(*endpoint.orders().borrow(), ProbeOrder::End);
}

/// Threads begin and end requests as fast as they can while another drains, waits for idle and then "stops the replica". A
/// request that begins after that is the failure that this design rules out.
#[test]
fn nothing_begins_after_idle_was_seen_however_tight_the_race() {
    for _ in 0..300 {
        let endpoint = endpoint();
        endpoint.activate(&probe());
        endpoint.set_up(true);
        let stopped = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let (endpoint, stopped, served) = (endpoint.clone(), stopped.clone(), served.clone());
                std::thread::spawn(move || {
                    while let Ok(lease) = begin(&endpoint) {
                        assert!(!stopped.load(SeqCst), "a request reached a replica that was stopped");
                        served.fetch_add(1, SeqCst);
                        drop(lease);
                    }
                })
            })
            .collect();
        while served.load(SeqCst) < 20 {
            std::hint::spin_loop();
        }
        endpoint.drain(0, 0);
        while endpoint.in_flight() > 0 {
            std::hint::spin_loop();
        }
        stopped.store(true, SeqCst);
        for worker in workers {
            worker.join().unwrap();
        }
    }
}

#[test]
fn one_that_is_full_begins_nothing_more_until_something_ends() {
    let endpoint = endpoint();
    let begin = || endpoint.begin(Begun { at: 0, most: 2, line: None, kept: false });
    let (first, second) = (begin().unwrap(), begin().unwrap());
    assert_eq!((first.in_flight, second.in_flight), (1, 2));
    assert_eq!(begin().err(), Some(NotBegun::Full));
    assert_eq!(endpoint.in_flight(), 2, "what was not begun does not count");
    drop(first);
    assert!(begin().is_ok());
}

#[test]
fn one_that_keeps_visitors_takes_them_alone_and_is_not_idle_until_its_deadline() {
    let endpoint = endpoint();
    endpoint.activate(&probe());
    endpoint.set_up(true);
    endpoint.keep_visitors(1_000, 0);
    assert!(!endpoint.in_rotation() && endpoint.keeps_visitors() && !endpoint.is_idle());
    assert_eq!(begin(&endpoint).err(), Some(NotBegun::Draining));
    let kept = || endpoint.begin(Begun { at: 0, most: u64::MAX, line: None, kept: true });
    let lease = kept().unwrap();
    assert_eq!(endpoint.closing().borrow().map(|curfew| curfew.deadline), Some(1_000));
    endpoint.stop_keeping(999);
    assert!(kept().is_ok());
    let before = endpoint.sequence().now();
    endpoint.stop_keeping(1_000);
    assert!(endpoint.sequence().now() > before && kept().is_err() && !endpoint.is_idle());
    drop(lease);
    assert!(endpoint.is_idle());
    // Taken back, it is as before.
    endpoint.activate(&probe());
    assert!(endpoint.in_rotation() && !endpoint.keeps_visitors());
    // Whose deadline has passed already keeps nobody.
    endpoint.keep_visitors(1_000, 1_000);
    assert!(endpoint.is_idle() && endpoint.is_draining());
}

#[test]
fn who_might_serve_was_up_and_listens() {
    let endpoint = endpoint();
    endpoint.activate(&probe());
    assert!(!endpoint.is_hopeful(), "never ready");
    endpoint.set_up(true);
    endpoint.set_up(false);
    assert!(endpoint.is_hopeful());
    endpoint.suspect();
    assert!(!endpoint.is_hopeful(), "refuses connections");
    endpoint.set_refusing(false);
    assert!(endpoint.is_hopeful());
    endpoint.drain(0, 0);
    assert!(!endpoint.is_hopeful());
}
