//! A command in a container, from its start to its end.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::OnceLock;

use bytes::Bytes;
use futures_util::SinkExt;
use pando_api::stream::{Channel, ExecEnd, Frame, FrameError};
use pando_api::v1::agents::TerminalSize;
use pando_model::time::Millis;
use pando_rt::shutdown::Shutdown;
use pando_runtime::docker::{
    Command, CommandEnd, CommandInput, CommandOutput, Containers, Piece, Within, exec_failed,
};
use pando_runtime::logs::Stream;
use tokio::time::timeout;

use super::caller::{Caller, FromCaller, ToCaller};
use super::running::{GRACE, LINGER, OUT_OF_MEMORY, Stop, TIMED_OUT, timed_out};

/// What a person types for the end of the input. A container's terminal has its usual settings.
const END_OF_INPUT: u8 = 4;

/// What is to be run.
pub(super) struct Order {
    pub(super) within: Within,
    pub(super) line: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) terminal: Option<TerminalSize>,
    pub(super) timeout: Option<Millis>,
}

/// A started command.
pub(super) struct Contained {
    command: Command,
    input: Input,
    output: CommandOutput,
    timeout: Option<Millis>,
}

impl Contained {
    /// The error is a sentence.
    pub(super) async fn start(containers: &Containers, order: Order) -> Result<Self, String> {
        let size = order.terminal.map(|size| (size.columns, size.rows));
        let words = Containers::words(&order.line);
        let started = containers.command(&order.within, words, &order.env, size).await;
        let (command, to_command, output) = started.map_err(|error| error.to_string())?;
        let input = Input { to_command, terminal: size.is_some(), open: true, within_line: false };
        Ok(Self { command, input, output, timeout: order.timeout })
    }

    /// Input in, output out, until the command has ended and all of the output is delivered. `None`: the caller left.
    pub(super) async fn relay(self, caller: &mut Caller, shutdown: &Shutdown) -> Option<ExecEnd> {
        let Self { command, mut input, output, timeout: limit } = self;
        let unsaid = OnceLock::new();
        let mut delivered = pin!(deliver(output, &mut caller.output, &unsaid));
        let stop = tokio::select! {
            // What the others have begun is of no use to anybody after the first of them.
            all = &mut delivered => if all { None } else { Some(Stop::Left) },
            stop = input.pass_on(&command, &mut caller.input) => Some(stop),
            stop = late(limit) => Some(stop),
            () = shutdown.wait() => Some(Stop::Ending),
        };
        if stop.is_some() {
            end(&command, &mut delivered).await;
        }
        let ended = command.end().await;
        command.close().await;
        let end = told(stop, ended.map_err(|error| error.to_string()));
        end.map(|end| ExecEnd { error: end.error.or_else(|| unsaid.get().cloned()), ..end })
    }
}

async fn late(limit: Option<Millis>) -> Stop {
    match limit {
        Some(limit) => {
            tokio::time::sleep(limit.duration()).await;
            Stop::TimedOut(limit)
        }
        None => std::future::pending().await,
    }
}

/// SIGTERM, and SIGKILL for who is still there after it.
async fn end(command: &Command, mut delivered: impl Future<Output = bool> + Unpin) {
    for (hard, patience) in [(false, GRACE), (true, LINGER)] {
        if let Err(error) = command.kill(hard).await {
            tracing::warn!("a command in a container can't be ended: {error}");
        }
        if timeout(patience, &mut delivered).await.is_ok() {
            return;
        }
    }
}

/// `None`: nobody is there to be told.
fn told(stop: Option<Stop>, ended: Result<CommandEnd, String>) -> Option<ExecEnd> {
    let killed = 137;
    let (code, unknown) = match ended {
        Ok(CommandEnd { code, out_of_memory }) => {
            let code = code.unwrap_or(killed);
            (code, (out_of_memory && code != 0).then(|| OUT_OF_MEMORY.to_owned()))
        }
        Err(why) => (killed, Some(format!("how it ended can't be told: {why}"))),
    };
    match stop {
        None => Some(ExecEnd { code, error: unknown }),
        Some(Stop::Left) => None,
        Some(Stop::Wrong(what)) => Some(ExecEnd { code, error: Some(what) }),
        Some(Stop::TimedOut(after)) => Some(ExecEnd { code: TIMED_OUT, error: Some(timed_out(after)) }),
        Some(Stop::Ending) => {
            let error = "it was stopped, since the agent on its server ends".to_owned();
            Some(ExecEnd { code, error: Some(error) })
        }
    }
}

/// Brings all of the output to the caller. False: it left. What the engine says in place of a command that it could not start is put
/// into `unsaid`, in words.
async fn deliver(mut output: CommandOutput, caller: &mut ToCaller, unsaid: &OnceLock<String>) -> bool {
    let mut first = output.next().await;
    if let Some(Ok(piece)) = &first
        && let Some(why) = exec_failed(&piece.bytes)
    {
        let Some(second) = output.next().await else {
            // Said once: nobody else has it.
            let _ = unsaid.set(why);
            return true;
        };
        // It goes on: a program of the image said it.
        if let Some(Ok(piece)) = first.replace(second)
            && !pass(piece, caller).await
        {
            return false;
        }
    }
    while let Some(Ok(piece)) = first {
        if !pass(piece, caller).await {
            return false;
        }
        first = output.next().await;
    }
    true
}

async fn pass(piece: Piece, caller: &mut ToCaller) -> bool {
    let channel = if piece.stream == Stream::Stderr { Channel::Stderr } else { Channel::Stdout };
    for payload in frames(piece.bytes) {
        if caller.send(Frame { channel, payload }).await.is_err() {
            return false;
        }
    }
    true
}

/// The engine's pieces may be longer than a frame may be.
fn frames(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    const MOST: usize = 32 * 1024;
    std::iter::from_fn(move || {
        let length = bytes.len().min(MOST);
        (length > 0).then(|| bytes.split_to(length))
    })
}

struct Input {
    to_command: CommandInput,
    terminal: bool,
    open: bool,
    within_line: bool,
}

impl Input {
    /// Passes on what the caller sends, until it leaves or sends what makes no sense.
    async fn pass_on(&mut self, command: &Command, caller: &mut FromCaller) -> Stop {
        loop {
            let frame = match caller.next().await {
                Some(Ok(frame)) => frame,
                Some(Err(FrameError::Io(_))) | None => return Stop::Left,
                Some(Err(error)) => return Stop::Wrong(error.to_string()),
            };
            let taken = tokio::select! {
                taken = self.take(command, frame) => taken,
                // A command that does not read its input must not keep us from seeing that nobody is there any more.
                () = caller.left() => return Stop::Left,
            };
            if let Err(wrong) = taken {
                return Stop::Wrong(wrong);
            }
        }
    }

    async fn take(&mut self, command: &Command, frame: Frame) -> Result<(), String> {
        match frame.channel {
            Channel::Stdin if frame.payload.is_empty() => self.end().await,
            Channel::Stdin => self.write(&frame.payload).await,
            Channel::Resize => resize(command, &frame.payload).await?,
            other => return Err(format!("a frame of {other:?} is not for the caller to send now")),
        }
        Ok(())
    }

    /// A command may close its input and go on; what is sent then is nobody's.
    async fn write(&mut self, bytes: &[u8]) {
        self.within_line = !matches!(bytes.last(), Some(b'\n' | b'\r'));
        self.open = self.open && self.to_command.write_all(bytes).await.is_ok();
    }

    async fn end(&mut self) {
        if self.terminal {
            // Within a line, the first one sends what there is of it.
            let keys = if self.within_line { 2 } else { 1 };
            self.write(&[END_OF_INPUT; 2][..keys]).await;
        } else if std::mem::take(&mut self.open) {
            let _ = self.to_command.close().await;
        }
    }
}

async fn resize(command: &Command, payload: &[u8]) -> Result<(), String> {
    let size: TerminalSize =
        serde_json::from_slice(payload).map_err(|error| format!("a Resize frame is wrong: {error}"))?;
    if let Err(error) = command.resize(size.columns, size.rows).await {
        tracing::debug!("a command's terminal does not take its size: {error}");
    }
    Ok(())
}
