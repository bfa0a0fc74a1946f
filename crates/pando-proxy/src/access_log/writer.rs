//! Writes lines in batches.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Batch;
use crate::error::ProxyError;
use crate::settings::{AccessLog, LogTarget};

/// Batches that go into one write.
const AT_ONCE: usize = 16;

/// How often it is asked whether the file is still the one under its name.
const LOOK: Duration = Duration::from_secs(1);

/// The log's other side: takes batches out of the queue until every handle is gone.
#[derive(Debug)]
pub(crate) struct Writer {
    batches: mpsc::Receiver<Batch>,
    sink: Sink,
    /// Counts lines that were not written.
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Sink {
    Stdout,
    File { path: PathBuf, file: File, looked: Instant },
}

impl Writer {
    pub(super) fn open(
        settings: &AccessLog,
        batches: mpsc::Receiver<Batch>,
        lost: Arc<AtomicU64>,
    ) -> Result<Self, ProxyError> {
        let sink = match &settings.target {
            LogTarget::Stdout => Sink::Stdout,
            LogTarget::File(path) => {
                let file =
                    append_to(path).map_err(|source| ProxyError::AccessLog { path: path.clone(), source })?;
                Sink::File { path: path.clone(), file, looked: Instant::now() }
            }
        };
        Ok(Self { batches, sink, lost })
    }

    /// Ends when `stop` begins and everything queued by then is written.
    pub(crate) async fn run(mut self, stop: pando_rt::shutdown::Shutdown) {
        let mut taken = Vec::with_capacity(AT_ONCE);
        loop {
            let count = tokio::select! {
                biased;
                count = self.batches.recv_many(&mut taken, AT_ONCE) => count,
                // The arm above is asked first, so the queue is empty here.
                () = stop.wait() => return,
            };
            if count == 0 {
                return;
            }
            let lines = taken.iter().map(|batch| batch.lines).sum();
            let text = taken.drain(..).map(|batch| batch.text).collect::<Vec<_>>().concat();
            self = match tokio::task::spawn_blocking(move || self.write(&text, lines)).await {
                Ok(writer) => writer,
                Err(error) => return tracing::error!(%error, "the access log's writer broke; no more lines"),
            };
        }
    }

    /// Lines that can't be written are lost, and counted; the log says so once a second at most.
    fn write(mut self, bytes: &[u8], lines: u64) -> Self {
        if let Err(error) = self.sink.write(bytes) {
            self.lost.fetch_add(lines, Relaxed);
            tracing::error!(%error, "cannot write the access log; lines are lost");
            std::thread::sleep(LOOK);
        }
        self
    }
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().write_all(bytes),
            Self::File { path, file, looked } => {
                if looked.elapsed() >= LOOK {
                    *looked = Instant::now();
                    if !is_at(file, path)? {
                        *file = append_to(path)?;
                    }
                }
                file.write_all(bytes)
            }
        }
    }
}

/// Whether `path` still leads to `file`; not so after a rotation.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    Ok(std::fs::metadata(path).is_ok_and(|there| there.dev() == ours.dev() && there.ino() == ours.ino()))
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}
