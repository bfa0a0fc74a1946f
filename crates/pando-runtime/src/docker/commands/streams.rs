//! What a command reads and prints.

use std::io;
use std::pin::Pin;

use bollard::container::LogOutput;
use bytes::Bytes;
use futures_util::{Stream as Told, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::logs::Stream;

/// What a command reads.
pub struct CommandInput(pub(super) Pin<Box<dyn AsyncWrite + Send>>);

/// What a command prints.
pub struct CommandOutput(
    pub(super) Pin<Box<dyn Told<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
);

/// A piece of output. With a terminal, everything is [`Stream::Stdout`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub stream: Stream,
    pub bytes: Bytes,
}

impl std::fmt::Debug for CommandInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CommandInput")
    }
}

impl std::fmt::Debug for CommandOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CommandOutput")
    }
}

impl CommandInput {
    /// # Errors
    /// When the command has ended, or closed its input.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// The command reads the end.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

impl CommandOutput {
    /// The next piece. `None`: there is no more. Cancel-safe.
    pub async fn next(&mut self) -> Option<io::Result<Piece>> {
        loop {
            let (stream, bytes) = match self.0.next().await? {
                Ok(LogOutput::StdErr { message }) => (Stream::Stderr, message),
                Ok(LogOutput::StdOut { message } | LogOutput::Console { message }) => {
                    (Stream::Stdout, message)
                }
                Ok(LogOutput::StdIn { .. }) => continue,
                Err(error) => return Some(Err(io::Error::other(error))),
            };
            return Some(Ok(Piece { stream, bytes }));
        }
    }
}
