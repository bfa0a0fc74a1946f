//! A stream of JSON lines.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use super::ClientError;
use super::transport::Answer;
use crate::v1::agents::LogLine;

/// 64 KiB of text, each byte written as `\u00xx` at worst, and the other fields.
const MAX_LINE: usize = 64 * 1024 * 6 + 1024;

/// Log lines as they come; ends with the answer, or with the first error. Cancel-safe to poll.
pub struct LogLines {
    lines: Pin<Box<dyn Stream<Item = Result<String, LinesCodecError>> + Send>>,
    base: String,
    over: bool,
}

impl std::fmt::Debug for LogLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogLines").field("base", &self.base).finish_non_exhaustive()
    }
}

impl LogLines {
    pub(crate) fn new(answer: Answer) -> Self {
        let body = answer.response.into_body().into_data_stream().map_err(std::io::Error::other);
        let codec = LinesCodec::new_with_max_length(MAX_LINE);
        let lines = Box::pin(FramedRead::new(StreamReader::new(body), codec));
        Self { lines, base: answer.base, over: false }
    }

    fn read(&self, line: Result<String, LinesCodecError>) -> Result<LogLine, ClientError> {
        let url = self.base.clone();
        let line = line.map_err(|error| match error {
            LinesCodecError::MaxLineLengthExceeded => {
                ClientError::Protocol { url: url.clone(), what: format!("a line of over {MAX_LINE} bytes") }
            }
            LinesCodecError::Io(error) => ClientError::Broken { url: url.clone(), source: error.into() },
        })?;
        serde_json::from_str(&line).map_err(|error| ClientError::Protocol { url, what: error.to_string() })
    }
}

impl Stream for LogLines {
    type Item = Result<LogLine, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        loop {
            match std::task::ready!(self.lines.poll_next_unpin(cx)) {
                None => return Poll::Ready(None),
                // A sign of life of a quiet stream.
                Some(Ok(line)) if line.is_empty() => {}
                Some(line) => {
                    let read = self.read(line);
                    self.over = read.is_err();
                    return Poll::Ready(Some(read));
                }
            }
        }
    }
}
