//! What the store on disk promises beyond the contract.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pando_control::store::{Op, Outcome, Range, Store, StoreError, Txn, sqlite};

fn put(key: &str, value: Vec<u8>) -> Txn {
    Txn::new().op(Op::Put { key: key.to_owned(), value: Bytes::from(value), lease: None })
}

async fn all(store: &dyn Store) -> (u64, Vec<pando_control::store::Entry>) {
    store.list(Range::prefix("/")).await.unwrap()
}

#[tokio::test]
async fn everything_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = sqlite::open(&path).unwrap();
    let lease = store.grant(Duration::from_millis(300)).await.unwrap();
    let held = Op::Put { key: "/held".to_owned(), value: Bytes::from("x"), lease: Some(lease) };
    store.txn(put("/a", b"1".to_vec()).op(held)).await.unwrap();
    store.txn(put("/a", b"2".to_vec())).await.unwrap();
    let before = all(&store).await;
    drop(store);

    let store = sqlite::open(&path).unwrap();
    assert_eq!(all(&store).await, before);
    // The lease ends a whole TTL after the store was opened.
    let mut watch = store.watch("/held", before.0);
    let ended = tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.unwrap();
    assert_eq!(ended, Some(before.0 + 1));
    assert_eq!(all(&store).await.1.len(), 1);
}

#[tokio::test]
async fn a_second_process_is_told_to_wait() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = sqlite::open(&path).unwrap();
    assert!(matches!(sqlite::open(&path), Err(StoreError::InUse { .. })));
    drop(store);
    sqlite::open(&path).unwrap();
}

#[tokio::test]
async fn only_the_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let store = sqlite::open(&directory.path().join("store.db")).unwrap();
    store.txn(put("/a", b"1".to_vec())).await.unwrap();
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
    }
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = sqlite::open_with(&path, 512 * 1024).unwrap();
    store.txn(put("/small", b"1".to_vec())).await.unwrap();
    let before = all(&store).await;
    let large = put("/large", vec![0; 1024 * 1024]).op(Op::Delete { key: "/small".to_owned() });
    let error = store.txn(large).await.unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(error.to_string().contains("store.db"), "{error}");
    assert_eq!(all(&store).await, before);
    // With room again, it goes on.
    assert_eq!(store.txn(put("/small", b"2".to_vec())).await.unwrap(), Outcome::Committed(before.0 + 1));
}

fn refused(path: &Path) -> StoreError {
    sqlite::open(path).map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_its_name_and_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = sqlite::open(&path).unwrap();
    for n in 0..200 {
        store.txn(put(&format!("/k{n:03}"), vec![7; 400])).await.unwrap();
    }
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 6000].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    let error = refused(&path);
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("store.db") && error.to_string().contains("backup"), "{error}");

    std::fs::write(&path, b"this is no database, and long enough to be read as its header").unwrap();
    assert!(matches!(refused(&path), StoreError::Damaged { .. }));
}

#[tokio::test]
async fn other_files_and_later_versions_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("other.db");
    let connection = rusqlite::Connection::open(&other).unwrap();
    connection.execute_batch("CREATE TABLE birds (name TEXT)").unwrap();
    drop(connection);
    assert!(matches!(refused(&other), StoreError::Damaged { .. }));

    let later = directory.path().join("later.db");
    drop(sqlite::open(&later).unwrap());
    let connection = rusqlite::Connection::open(&later).unwrap();
    connection.pragma_update(None, "user_version", 9).unwrap();
    drop(connection);
    assert!(matches!(refused(&later), StoreError::Later { found: 9, .. }));

    let missing = directory.path().join("none").join("store.db");
    assert!(matches!(refused(&missing), StoreError::Open { .. }));
}

/// A promise to whoever waits for a deploy: a decision is recorded in a few milliseconds.
#[tokio::test]
async fn a_transaction_takes_a_few_milliseconds() {
    let fresh = super::on_disk();
    let value = vec![b'x'; 2000];
    let mut times = Vec::new();
    for n in 0..200 {
        let start = Instant::now();
        let txn = put(&format!("/a/{n}"), value.clone()).op(Op::Delete { key: format!("/b/{n}") });
        fresh.store.txn(txn).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!("median {:?}, 95 % {:?}, most {:?}", times[100], times[190], times[199]);
    // Far above what a disk needs, for a machine that is busy with other tests.
    assert!(times[100] < Duration::from_millis(50), "{:?}", times[100]);
}

#[tokio::test]
async fn reads_do_not_wait_for_writes() {
    let fresh = super::on_disk();
    let large = vec![b'x'; 1024 * 1024];
    fresh.store.txn(put("/a", b"1".to_vec())).await.unwrap();
    let write = async {
        let writes = (0..40).map(|n| fresh.store.txn(put(&format!("/large/{n}"), large.clone())));
        for done in futures_util::future::join_all(writes).await {
            done.unwrap();
        }
        Instant::now()
    };
    let read = async {
        for _ in 0..3 {
            fresh.store.list(Range::key("/a")).await.unwrap();
        }
        Instant::now()
    };
    let (written, read) = futures_util::join!(write, read);
    assert!(read < written, "three reads took longer than 40 MB of writes that began before them");
}
