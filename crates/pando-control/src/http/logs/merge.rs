//! Several streams of dated lines as one, by time.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered, StreamFuture};
use futures_util::{FutureExt, Stream, StreamExt};
use pando_api::v1::agents::LogLine;
use tokio::time::{Instant, timeout_at};

/// Lines of one server, in its order.
pub(super) type Lines = BoxStream<'static, LogLine>;

/// In a live stream, how long a line waits for an earlier one of a slower server.
const SLACK: Duration = Duration::from_millis(150);

/// The most text that [`Merge::newest`] keeps; beyond it, the oldest lines go.
const MAX_BYTES: usize = 32 * 1024 * 1024;

type Next = BoxFuture<'static, (usize, Option<LogLine>, Lines)>;

/// The streams, with the next line of each that has one ready.
pub(super) struct Merge {
    /// Streams whose next line has not come yet.
    waiting: FuturesUnordered<Next>,
    heads: Vec<Option<(LogLine, Lines)>>,
    live: bool,
    /// Until when the oldest head waits for the others.
    patience: Option<Instant>,
}

impl Merge {
    /// Streams that end by themselves: the order is exact.
    pub(super) fn ending(sources: Vec<Lines>) -> Self {
        Self::new(sources, false)
    }

    /// Streams that may be silent for hours: the order is exact within [`SLACK`].
    pub(super) fn live(sources: Vec<Lines>) -> Self {
        Self::new(sources, true)
    }

    fn new(sources: Vec<Lines>, live: bool) -> Self {
        let heads = sources.iter().map(|_| None).collect();
        let waiting = sources.into_iter().enumerate().map(|(place, lines)| next(place, lines)).collect();
        Self { waiting, heads, live, patience: None }
    }

    /// The next line. `None`: all have ended.
    async fn line(&mut self) -> Option<LogLine> {
        loop {
            let oldest = self.oldest();
            if self.waiting.is_empty() {
                return self.take(oldest?);
            }
            let arrived = match (self.live, oldest) {
                (true, Some(oldest)) => {
                    let until = *self.patience.get_or_insert_with(|| Instant::now() + SLACK);
                    match timeout_at(until, self.waiting.next()).await {
                        Ok(arrived) => arrived,
                        Err(_) => return self.take(oldest),
                    }
                }
                _ => self.waiting.next().await,
            };
            if let Some((place, Some(line), rest)) = arrived {
                self.heads[place] = Some((line, rest));
            }
        }
    }

    fn oldest(&self) -> Option<usize> {
        let heads = self.heads.iter().enumerate();
        let dated = heads.filter_map(|(place, head)| head.as_ref().map(|(line, _)| (line.time, place)));
        dated.min().map(|(_, place)| place)
    }

    fn take(&mut self, place: usize) -> Option<LogLine> {
        let (line, rest) = self.heads[place].take()?;
        self.waiting.push(next(place, rest));
        self.patience = None;
        Some(line)
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = LogLine> + Send {
        futures_util::stream::unfold(self, |mut merge| async move {
            let line = merge.line().await?;
            Some((line, merge))
        })
    }

    /// The last `count` lines, once all have ended.
    pub(super) fn newest(mut self, count: usize) -> impl Stream<Item = LogLine> + Send {
        let collected = async move {
            let (mut kept, mut bytes) = (VecDeque::new(), 0);
            while let Some(line) = self.line().await {
                bytes += line.text.len();
                kept.push_back(line);
                while kept.len() > count || bytes > MAX_BYTES {
                    bytes -= kept.pop_front().map_or(0, |line: LogLine| line.text.len());
                }
            }
            futures_util::stream::iter(kept)
        };
        collected.flatten_stream()
    }
}

fn next(place: usize, lines: Lines) -> Next {
    let head: StreamFuture<Lines> = lines.into_future();
    head.map(move |(line, rest)| (place, line, rest)).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use pando_api::v1::agents::LogStream;
    use pando_model::time::Timestamp;

    fn line(millis: i64) -> LogLine {
        let text = millis.to_string();
        LogLine {
            time: Timestamp::from_millis(millis),
            source: "web-1".into(),
            stream: LogStream::Stdout,
            text,
        }
    }

    fn lines(times: &[i64]) -> Lines {
        stream::iter(times.iter().map(|millis| line(*millis)).collect::<Vec<_>>()).boxed()
    }

    async fn times(lines: impl Stream<Item = LogLine>) -> Vec<i64> {
        lines.map(|line| line.time.as_millis()).collect().await
    }

    #[tokio::test]
    async fn lines_come_in_the_order_of_their_time() {
        let sources = || vec![lines(&[1, 4, 5, 9]), lines(&[]), lines(&[2, 3, 6])];
        assert_eq!(times(Merge::ending(sources()).into_stream()).await, [1, 2, 3, 4, 5, 6, 9]);
        assert_eq!(times(Merge::ending(sources()).newest(3)).await, [5, 6, 9]);
        assert!(times(Merge::ending(vec![]).newest(3)).await.is_empty());
    }

    #[tokio::test]
    async fn a_silent_server_does_not_hold_up_the_others() {
        let silent = stream::pending().boxed();
        let mut merged = Box::pin(Merge::live(vec![lines(&[1, 2]), silent]).into_stream());
        assert_eq!(merged.next().await.unwrap().time.as_millis(), 1);
        assert_eq!(merged.next().await.unwrap().time.as_millis(), 2);
    }

    #[tokio::test]
    async fn a_slower_server_still_comes_first_within_the_slack() {
        // Not there at the first look, but long before the slack is over.
        let slow = stream::once(async {
            tokio::task::yield_now().await;
            line(1)
        });
        let merged = Merge::live(vec![lines(&[2]), slow.boxed()]).into_stream();
        assert_eq!(times(merged).await, [1, 2]);
    }
}
