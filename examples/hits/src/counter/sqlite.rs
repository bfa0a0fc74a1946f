//! The count in an SQLite file that several processes share.
//!
//! SQLite blocks, so a thread of its own holds the connection and the server's
//! threads never wait for the disk. Loads that arrive while one transaction runs
//! share the next one; each still gets its own number.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

/// How long a transaction waits for other processes before it gives up.
const BUSY: Duration = Duration::from_secs(5);
/// How long opening may be retried while other processes make the same file.
const OPEN: Duration = Duration::from_secs(10);
/// Loads waiting for the thread; more than that wait to be queued.
const QUEUE: usize = 1024;
/// Loads that share one transaction at most.
const BATCH: usize = 128;

const SCHEMA: &str =
    "CREATE TABLE IF NOT EXISTS hits (id INTEGER PRIMARY KEY CHECK (id = 1), count INTEGER NOT NULL);
                      INSERT OR IGNORE INTO hits (id, count) VALUES (1, 0);";

type Answer = Result<i64, String>;

struct Request {
    /// What to add to the count: one for a load, zero to read it.
    add: i64,
    answer: oneshot::Sender<Answer>,
}

pub struct Sqlite {
    path: PathBuf,
    requests: mpsc::Sender<Request>,
}

impl Sqlite {
    /// Opens or makes the file and its table. The thread ends when the value is dropped; each
    /// transaction is whole on disk before it is answered, so nobody needs to wait for that.
    pub async fn open(path: PathBuf) -> anyhow::Result<Sqlite> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let (opened, result) = oneshot::channel();
        let file = path.clone();
        std::thread::Builder::new()
            .name("sqlite".to_owned())
            .spawn(move || match open_until(&file, Instant::now() + OPEN) {
                Ok(connection) => {
                    let _ = opened.send(Ok(()));
                    answer_all(connection, queue);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            })
            .context("starting the SQLite thread")?;
        result.await.context("the SQLite thread ended")?.with_context(|| {
            format!("opening the SQLite file {} (HITS_DB names another place)", path.display())
        })?;
        Ok(Sqlite { path, requests })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub async fn count(&self) -> anyhow::Result<i64> {
        self.ask(1).await
    }

    pub async fn read(&self) -> anyhow::Result<i64> {
        self.ask(0).await
    }

    async fn ask(&self, add: i64) -> anyhow::Result<i64> {
        let (answer, result) = oneshot::channel();
        self.requests.send(Request { add, answer }).await.ok().context("the SQLite thread ended")?;
        let answer = result.await.context("the SQLite thread ended")?;
        answer.map_err(|error| anyhow::anyhow!("counting in {}: {error}", self.path.display()))
    }
}

/// Turning on the write-ahead log needs the file to itself for a moment and does not wait for it
/// by itself; replicas that start together therefore try again.
fn open_until(path: &Path, deadline: Instant) -> rusqlite::Result<Connection> {
    loop {
        match open(path) {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.commit()?;
    Ok(connection)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn answer_all(mut connection: Connection, mut queue: mpsc::Receiver<Request>) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        let total = batch.iter().map(|request| request.add).sum();
        match add(&mut connection, total) {
            Ok(count) => answer_in_order(&mut batch, count - total),
            Err(error) => answer_error(&mut batch, &error.to_string()),
        }
    }
}

/// Whoever has gone meanwhile is not waited for; its load is counted all the same.
fn answer_in_order(batch: &mut Vec<Request>, mut count: i64) {
    for request in batch.drain(..) {
        count += request.add;
        let _ = request.answer.send(Ok(count));
    }
}

fn answer_error(batch: &mut Vec<Request>, error: &str) {
    for request in batch.drain(..) {
        let _ = request.answer.send(Err(error.to_owned()));
    }
}

fn add(connection: &mut Connection, loads: i64) -> rusqlite::Result<i64> {
    if loads == 0 {
        return connection.query_row("SELECT count FROM hits WHERE id = 1", [], |row| row.get(0));
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let count = transaction.query_row(
        "UPDATE hits SET count = count + ?1 WHERE id = 1 RETURNING count",
        [loads],
        |row| row.get(0),
    )?;
    transaction.commit()?;
    Ok(count)
}
