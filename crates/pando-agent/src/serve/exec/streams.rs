//! A command's input and output: pipes, or a terminal.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::SinkExt;
use pando_api::stream::{Channel, Frame, FrameError};
use pando_api::v1::agents::TerminalSize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::caller::{FromCaller, ToCaller};
use super::running::Stop;
use super::terminal::Terminal;

/// One frame; the kernel's pipes hold twice as much.
const CHUNK: usize = 32 * 1024;

/// Frames that wait for a slow caller: 256 KiB. The command then waits, too.
const QUEUE: usize = 8;

/// What is read at most of a stream that somebody who left the session goes on writing to. More than pipes hold.
const MOST_AFTER_END: usize = 1024 * 1024;

/// Where what the caller sends goes.
pub(super) enum Input {
    /// `None`: it is closed.
    Pipe(Option<ChildStdin>),
    Terminal {
        terminal: Arc<Terminal>,
        within_line: bool,
    },
}

impl Input {
    /// Passes on what the caller sends, until it leaves or sends what makes no sense.
    pub(super) async fn pass_on(&mut self, caller: &mut FromCaller) -> Stop {
        loop {
            let frame = match caller.next().await {
                Some(Ok(frame)) => frame,
                Some(Err(FrameError::Io(_))) | None => return Stop::Left,
                Some(Err(error)) => return Stop::Wrong(error.to_string()),
            };
            let taken = tokio::select! {
                taken = self.take(frame) => taken,
                // A command that does not read its input must not keep us from seeing that nobody is there any more.
                () = caller.left() => return Stop::Left,
            };
            if let Err(wrong) = taken {
                return Stop::Wrong(wrong);
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), String> {
        match frame.channel {
            Channel::Stdin if frame.payload.is_empty() => self.end().await,
            Channel::Stdin => self.write(&frame.payload).await,
            Channel::Resize => self.resize(&frame.payload)?,
            other => return Err(format!("a frame of {other:?} is not for the caller to send now")),
        }
        Ok(())
    }

    /// A command may close its input and go on; what is sent then is nobody's.
    async fn write(&mut self, bytes: &[u8]) {
        match self {
            Self::Pipe(pipe) => {
                if let Some(open) = pipe
                    && open.write_all(bytes).await.is_err()
                {
                    *pipe = None;
                }
            }
            Self::Terminal { terminal, within_line } => {
                *within_line = !matches!(bytes.last(), Some(b'\n' | b'\r'));
                log_failure(terminal.write_all(bytes).await);
            }
        }
    }

    async fn end(&mut self) {
        match self {
            Self::Pipe(pipe) => *pipe = None,
            Self::Terminal { terminal, within_line } => {
                let ended = match terminal.end_of_input() {
                    // Within a line, the first one sends what there is of it.
                    Ok(key) if *within_line => terminal.write_all(&[key, key]).await,
                    Ok(key) => terminal.write_all(&[key]).await,
                    Err(error) => Err(error),
                };
                log_failure(ended);
            }
        }
    }

    fn resize(&self, payload: &[u8]) -> Result<(), String> {
        let size: TerminalSize =
            serde_json::from_slice(payload).map_err(|error| format!("a Resize frame is wrong: {error}"))?;
        if let Self::Terminal { terminal, .. } = self {
            log_failure(terminal.resize(size));
        }
        Ok(())
    }
}

/// The command has ended, or is about to: that is told otherwise.
fn log_failure(done: io::Result<()>) {
    if let Err(error) = done {
        tracing::debug!("a command's terminal does not take it: {error}");
    }
}

/// Where the command's output comes from.
pub(super) enum Output {
    Stdout(ChildStdout),
    Stderr(ChildStderr),
    Terminal(Arc<Terminal>),
}

impl Output {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(pipe) => pipe.read(buffer).await,
            Self::Stderr(pipe) => pipe.read(buffer).await,
            Self::Terminal(terminal) => terminal.read(buffer).await,
        }
    }

    fn channel(&self) -> Channel {
        match self {
            Self::Stdout(_) | Self::Terminal(_) => Channel::Stdout,
            Self::Stderr(_) => Channel::Stderr,
        }
    }
}

/// What those who start, relay and end a command tell each other.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// The caller is not there any more.
    pub(super) gone: CancellationToken,
    /// The whole of the output is with the caller, or never will be.
    pub(super) delivered: CancellationToken,
    /// Nobody of the session is left: what can't be read now is not waited for.
    pub(super) cut: CancellationToken,
}

/// Brings all of the output to the caller.
pub(super) async fn deliver(outputs: Vec<Output>, caller: &mut ToCaller, signs: &Signs) {
    let _delivered = signs.delivered.clone().drop_guard();
    let (frames, mut waiting) = mpsc::channel(QUEUE);
    let read = outputs.into_iter().map(|output| pump(output, frames.clone(), &signs.cut));
    let read = futures_util::future::join_all(read);
    drop(frames);
    let send = async {
        while let Some(frame) = waiting.recv().await {
            if caller.send(frame).await.is_err() {
                return signs.gone.cancel();
            }
        }
    };
    tokio::select! {
        _ = futures_util::future::join(read, send) => {}
        // Nobody is left to bring it to.
        () = signs.gone.cancelled() => {}
    }
}

async fn pump(mut output: Output, frames: mpsc::Sender<Frame>, cut: &CancellationToken) {
    let (mut buffer, mut room) = (vec![0; CHUNK], MOST_AFTER_END);
    while room > 0 {
        let read = tokio::select! {
            // In this order, and whatever the scheduler thinks: what is there is read even when nobody writes any more.
            biased;
            read = tokio::task::unconstrained(output.read(&mut buffer)) => read,
            () = cut.cancelled() => return,
        };
        let Ok(length @ 1..) = read else { return };
        if cut.is_cancelled() {
            room = room.saturating_sub(length);
        }
        let payload = Bytes::copy_from_slice(&buffer[..length]);
        if frames.send(Frame { channel: output.channel(), payload }).await.is_err() {
            return;
        }
    }
}
