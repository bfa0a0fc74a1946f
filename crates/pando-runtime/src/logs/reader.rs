//! Reads logs: several replicas merged by time, across rotations, and on as they grow.

mod cursor;
mod merge;
mod watch;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use futures_util::Stream;
use pando_model::time::Timestamp;
use tokio::task::JoinHandle;

use super::files::{LogFiles, LogStore};
use super::line::{Line, Stream as LineStream};
use super::query::Query;
use cursor::Cursor;
use merge::Merge;
use watch::Watch;

impl LogStore {
    /// Reads the lines that `query` wants, oldest first. Nothing is read before the first call of [`LogStream::next`].
    #[must_use]
    pub fn read(&self, query: Query) -> LogStream {
        let directory = self.root.join(query.app.as_str());
        let follow = query.follow.then(|| Follow { directory: directory.clone(), watch: None });
        let merge = Merge::new(directory, query);
        LogStream { state: State::Idle(Box::new(merge)), ready: VecDeque::new(), follow }
    }
}

impl LogStore {
    /// The last lines of output (no remarks) of one run, as far as the disk gives them; at most 20. Blocks.
    pub(crate) fn last_output(&self, app: &str, name: &str, since: Option<Timestamp>) -> Vec<String> {
        let files = LogFiles::new(self.root.join(app), name);
        let Ok(mut cursor) = Cursor::open(files, since) else { return Vec::new() };
        let mut last = VecDeque::new();
        while let Ok(Some(line)) = cursor.next() {
            if line.stream != LineStream::Pando {
                last.push_back(line.text);
            }
            if last.len() > 20 {
                last.pop_front();
            }
        }
        last.into()
    }
}

impl LogStore {
    /// Every line of output (no remarks) of `name` since then, oldest first, as far as the disk gives them. Blocks.
    pub(crate) fn each_output(
        &self,
        app: &str,
        name: &str,
        since: Timestamp,
        mut each: impl FnMut(Line),
    ) -> io::Result<()> {
        let mut cursor = Cursor::open(LogFiles::new(self.root.join(app), name), Some(since))?;
        while let Some(line) = cursor.next()? {
            if line.stream != LineStream::Pando {
                each(line);
            }
        }
        Ok(())
    }
}

/// Lines as they are read. At most 512 wait in memory; a slow reader slows nothing but itself.
#[derive(Debug)]
pub struct LogStream {
    state: State,
    ready: VecDeque<Line>,
    follow: Option<Follow>,
}

#[derive(Debug)]
struct Follow {
    directory: PathBuf,
    /// Made before the first read, so that nothing is written unseen in between.
    watch: Option<Watch>,
}

impl Follow {
    /// A watch that tells nothing is tried anew: the directory may be there by now.
    fn begin(&mut self) {
        if !self.watch.as_ref().is_some_and(Watch::tells) {
            self.watch = Some(Watch::new(&self.directory));
        }
    }

    /// Cancel-safe.
    async fn changed(&self) {
        if let Some(watch) = &self.watch {
            watch.changed().await;
        }
    }
}

#[derive(Debug)]
enum State {
    Idle(Box<Merge>),
    /// Kept here and not in a future, so that dropping the future loses nothing.
    Reading(JoinHandle<(Box<Merge>, io::Result<Vec<Line>>)>),
    Over,
}

impl LogStream {
    /// The next line. `None`: there are no more, which a follower never says. After an error, too, it is over. Cancel-safe.
    pub async fn next(&mut self) -> Option<io::Result<Line>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
            }
            match self.fill().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.state = State::Over;
                    return Some(Err(error));
                }
            }
        }
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Line>> + Send {
        futures_util::stream::unfold(self, async |mut lines| lines.next().await.map(|line| (line, lines)))
    }

    /// False when it is over.
    async fn fill(&mut self) -> io::Result<bool> {
        if let State::Idle(_) = &self.state {
            let State::Idle(mut merge) = std::mem::replace(&mut self.state, State::Over) else {
                return Ok(false);
            };
            if let Some(follow) = &mut self.follow {
                follow.begin();
            }
            self.state = State::Reading(tokio::task::spawn_blocking(move || {
                let lines = merge.read_some();
                (merge, lines)
            }));
        }
        let State::Reading(reading) = &mut self.state else { return Ok(false) };
        let (merge, lines) = reading.await.map_err(io::Error::other)?;
        let lines = lines?;
        let nothing = lines.is_empty();
        self.ready.extend(lines);
        if nothing && self.follow.is_none() {
            self.state = State::Over;
            return Ok(false);
        }
        self.state = State::Idle(merge);
        if let Some(follow) = self.follow.as_ref().filter(|_| nothing) {
            follow.changed().await;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
