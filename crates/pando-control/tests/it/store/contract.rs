//! What every store promises. A new implementation adds one line to the list at the end.

use std::time::Duration;

use bytes::Bytes;
use pando_control::store::{Entry, Expect, LeaseId, MAX_VALUE, Op, Outcome, Range, Store, StoreError, Txn};
use tokio::time::timeout;

use super::Fresh;

/// Generous: what is waited for takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.to_owned(), value: Bytes::from(value.to_owned()), lease: None }
}

fn leased(key: &str, lease: LeaseId) -> Op {
    Op::Put { key: key.to_owned(), value: Bytes::from("held"), lease: Some(lease) }
}

async fn commit(store: &dyn Store, txn: Txn) -> u64 {
    match store.txn(txn).await.unwrap() {
        Outcome::Committed(revision) => revision,
        Outcome::Conflict => panic!("conflict"),
    }
}

async fn all(store: &dyn Store) -> Vec<Entry> {
    store.list(Range::prefix("/")).await.unwrap().1
}

fn keys(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_str()).collect()
}

async fn what_is_put_is_read(fresh: Fresh) {
    let store = &*fresh.store;
    assert_eq!(store.list(Range::prefix("/")).await.unwrap(), (0, vec![]));
    assert_eq!(commit(store, Txn::new().op(put("/a", "1")).op(put("/b", "2"))).await, 1);
    assert_eq!(commit(store, Txn::new().op(put("/a", "3"))).await, 2);
    let (revision, entries) = store.list(Range::prefix("/")).await.unwrap();
    assert_eq!(revision, 2);
    let seen: Vec<_> =
        entries.iter().map(|e| (e.key.as_str(), &e.value[..], e.created, e.modified)).collect();
    assert_eq!(seen, [("/a", &b"3"[..], 1, 2), ("/b", &b"2"[..], 1, 1)]);
}

async fn a_key_that_was_deleted_and_put_again_is_a_new_one(fresh: Fresh) {
    let store = &*fresh.store;
    commit(store, Txn::new().op(put("/a", "1"))).await;
    assert_eq!(commit(store, Txn::new().delete("/a")).await, 2);
    assert_eq!(all(store).await, []);
    commit(store, Txn::new().op(put("/a", "1"))).await;
    assert_eq!(all(store).await[0].created, 3);
}

async fn a_transaction_that_changes_nothing_keeps_the_revision(fresh: Fresh) {
    let store = &*fresh.store;
    assert_eq!(commit(store, Txn::new().op(put("/a", "1"))).await, 1);
    assert_eq!(commit(store, Txn::new()).await, 1);
    assert_eq!(commit(store, Txn::new().delete("/none")).await, 1);
    // The same value again is a change all the same.
    assert_eq!(commit(store, Txn::new().op(put("/a", "1"))).await, 2);
}

async fn guards_decide_over_the_whole(fresh: Fresh) {
    let store = &*fresh.store;
    commit(store, Txn::new().op(put("/a", "1"))).await;
    for (key, expect, holds) in [
        ("/a", Expect::Exists, true),
        ("/a", Expect::Absent, false),
        ("/a", Expect::Modified(1), true),
        ("/a", Expect::Modified(2), false),
        ("/b", Expect::Exists, false),
        ("/b", Expect::Absent, true),
        ("/b", Expect::Modified(0), false),
    ] {
        let txn = Txn::new().guard("/a", Expect::Exists).guard(key, expect).op(put("/x", "1"));
        let outcome = store.txn(txn).await.unwrap();
        assert_eq!(outcome != Outcome::Conflict, holds, "{key} {expect:?}");
        let there = keys(&all(store).await).contains(&"/x");
        assert_eq!(there, holds, "{key} {expect:?}");
        commit(store, Txn::new().delete("/x")).await;
    }
}

async fn of_two_that_saw_the_same_one_wins(fresh: Fresh) {
    let store = &fresh.store;
    commit(&**store, Txn::new().op(put("/n", "0"))).await;
    let rivals = (0..16).map(|_| async {
        for _ in 0..10 {
            loop {
                let (_, read) = store.list(Range::key("/n")).await.unwrap();
                let seen: u32 = std::str::from_utf8(&read[0].value).unwrap().parse().unwrap();
                let txn = Txn::new().guard("/n", Expect::Modified(read[0].modified));
                let txn = txn.op(put("/n", &(seen + 1).to_string()));
                if store.txn(txn).await.unwrap() != Outcome::Conflict {
                    break;
                }
            }
        }
    });
    futures_util::future::join_all(rivals).await;
    assert_eq!(all(&**store).await[0].value, "160");
}

async fn ranges_are_cut_and_turned_as_asked(fresh: Fresh) {
    let store = &*fresh.store;
    for key in ["/a", "/a/1", "/a/2", "/a/3", "/b"] {
        commit(store, Txn::new().op(put(key, key))).await;
    }
    for (range, expected) in [
        (Range::key("/a"), vec!["/a"]),
        (Range::key("/c"), vec![]),
        (Range::prefix("/a/"), vec!["/a/1", "/a/2", "/a/3"]),
        (Range::prefix("/a"), vec!["/a", "/a/1", "/a/2", "/a/3"]),
        (Range::prefix("/a/").limit(2), vec!["/a/1", "/a/2"]),
        (Range::prefix("/a/").limit(0), vec![]),
        (Range::prefix("/a/").descending().limit(2), vec!["/a/3", "/a/2"]),
        (Range::prefix("/").after(3), vec!["/a/3", "/b"]),
        (Range::prefix("/").after(3).descending().limit(1), vec!["/b"]),
        (Range { start: "/b".into(), end: "/a".into(), ..Range::key("/") }, vec![]),
    ] {
        let found = store.list(range.clone()).await.unwrap().1;
        assert_eq!(keys(&found), expected, "{range:?}");
    }
}

async fn many_ranges_are_read_at_one_revision(fresh: Fresh) {
    let store = &*fresh.store;
    commit(store, Txn::new().op(put("/left", "0")).op(put("/right", "0"))).await;
    let write = async {
        for n in 1..=200 {
            let n = n.to_string();
            commit(store, Txn::new().op(put("/left", &n)).op(put("/right", &n))).await;
        }
    };
    let read = async {
        loop {
            let reading = store.read(vec![Range::key("/left"), Range::key("/right")]).await.unwrap();
            let values: Vec<_> = reading.ranges.iter().map(|range| range[0].value.clone()).collect();
            assert_eq!(values[0], values[1]);
            assert_eq!(reading.revision, reading.ranges[0][0].modified);
            if values[0] == "200" {
                break;
            }
        }
    };
    futures_util::join!(write, read);
}

async fn a_watch_speaks_of_its_keys(fresh: Fresh) {
    let store = &*fresh.store;
    let mut watch = store.watch("/a/", 0);
    commit(store, Txn::new().op(put("/b", "1"))).await;
    commit(store, Txn::new().op(put("/a/x", "1"))).await;
    assert_eq!(timeout(PATIENCE, watch.changed()).await.unwrap(), Some(2));
    commit(store, Txn::new().delete("/a/x")).await;
    assert_eq!(timeout(PATIENCE, watch.changed()).await.unwrap(), Some(3));
    // From the past: at once.
    assert_eq!(timeout(PATIENCE, store.watch("/a/", 2).changed()).await.unwrap(), Some(3));
}

async fn a_watch_ends_with_the_store(fresh: Fresh) {
    let mut watch = fresh.store.watch("/", 0);
    drop(fresh);
    assert_eq!(timeout(PATIENCE, watch.changed()).await.unwrap(), None);
}

async fn keys_end_with_their_lease(fresh: Fresh) {
    let store = &*fresh.store;
    let (short, long) =
        (store.grant(Duration::from_millis(50)).await.unwrap(), store.grant(PATIENCE).await.unwrap());
    let ops = [leased("/short", short), leased("/long", long), put("/free", "1")];
    let revision = commit(store, Txn::new().ops(ops)).await;
    let mut watch = store.watch("/short", revision);
    assert_eq!(timeout(PATIENCE, watch.changed()).await.unwrap(), Some(revision + 1));
    assert_eq!(keys(&all(store).await), ["/free", "/long"]);
    assert!(matches!(store.keep_alive(short).await, Err(StoreError::NoLease(lease)) if lease == short));
    let late = store.txn(Txn::new().op(leased("/late", short))).await;
    assert!(matches!(late, Err(StoreError::NoLease(_))), "{late:?}");
}

async fn a_lease_that_is_kept_alive_lives(fresh: Fresh) {
    let store = &*fresh.store;
    let lease = store.grant(Duration::from_secs(1)).await.unwrap();
    let revision = commit(store, Txn::new().op(leased("/a", lease))).await;
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        store.keep_alive(lease).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(all(store).await[0].modified, revision);
}

async fn a_lease_that_is_revoked_takes_its_keys(fresh: Fresh) {
    let store = &*fresh.store;
    let lease = store.grant(PATIENCE).await.unwrap();
    let ops = [leased("/a", lease), leased("/b", lease), leased("/c", lease)];
    commit(store, Txn::new().ops(ops)).await;
    // A key that is put without a lease no longer hangs on it.
    commit(store, Txn::new().op(put("/b", "free"))).await;
    store.revoke(lease).await.unwrap();
    store.revoke(lease).await.unwrap();
    let (revision, entries) = store.list(Range::prefix("/")).await.unwrap();
    assert_eq!((revision, keys(&entries)), (3, vec!["/b"]));
}

async fn impossible_transactions_are_refused_whole(fresh: Fresh) {
    let store = &*fresh.store;
    let large = "x".repeat(MAX_VALUE + 1);
    let long = format!("/{}", "k".repeat(600));
    for txn in [
        Txn::new().op(put("/a", "1")).op(put("/a", "2")),
        Txn::new().op(put("/a", "1")).delete("/a"),
        Txn::new().op(put("/ok", "1")).op(put("/a", &large)),
        Txn::new().op(put("/ok", "1")).op(put(&long, "1")),
        Txn::new().op(put("", "1")),
        Txn::new().op(put("/a b", "1")),
        Txn::new().ops((0..5000).map(|n| put(&format!("/{n}"), "1"))),
    ] {
        let refused = store.txn(txn).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    }
    let unknown = store.txn(Txn::new().op(put("/ok", "1")).op(leased("/a", LeaseId(77)))).await;
    assert!(matches!(unknown, Err(StoreError::NoLease(LeaseId(77)))), "{unknown:?}");
    assert_eq!(store.list(Range::prefix("/")).await.unwrap(), (0, vec![]));
}

/// Each promise as a test of its own, for each store that is named with how a fresh one is made.
macro_rules! contract {
    ($($store:ident: $fresh:ident),+; $promises:tt) => {
        $(contract!(@ $store $fresh $promises);)+
    };
    (@ $store:ident $fresh:ident { $($promise:ident)* }) => {
        mod $store {
            $(#[tokio::test] async fn $promise() { super::$promise(crate::store::$fresh()).await; })*
        }
    };
}

contract! {
    memory: in_memory, local: in_local_memory, sqlite: on_disk;
    {
        what_is_put_is_read
        a_key_that_was_deleted_and_put_again_is_a_new_one
        a_transaction_that_changes_nothing_keeps_the_revision
        guards_decide_over_the_whole
        of_two_that_saw_the_same_one_wins
        ranges_are_cut_and_turned_as_asked
        many_ranges_are_read_at_one_revision
        a_watch_speaks_of_its_keys
        a_watch_ends_with_the_store
        a_lease_that_is_revoked_takes_its_keys
        impossible_transactions_are_refused_whole
    }
}

/// The store without a clock ends no lease by itself.
mod leases {
    contract! {
        memory: in_memory, sqlite: on_disk;
        {
            keys_end_with_their_lease
            a_lease_that_is_kept_alive_lives
        }
    }

    use super::{a_lease_that_is_kept_alive_lives, keys_end_with_their_lease};
}
