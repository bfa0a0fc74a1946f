//! Frames both ways between a caller and a command, until one of them is done.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use pando_api::stream::{Channel, ExecEnd, Frame};
use pando_model::time::Millis;
use pando_rt::shutdown::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Child;
use tokio::sync::mpsc;

use super::place::Started;
use super::{Connection, end_frame, terminal};
use crate::session;

/// Frames that wait for a slow reader, either way; then it is waited for.
const QUEUE: usize = 16;

/// For a command whose time is over, between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// For output that is still on its way when the command has ended.
const DRAIN: Duration = Duration::from_secs(2);

/// For the last frames to reach the caller.
const FAREWELL: Duration = Duration::from_secs(10);

/// What `timeout` says of a command whose time was over.
const TIMED_OUT: i32 = 124;

/// Ctrl-D: the end of the input, on a terminal.
const END_OF_TRANSMISSION: &[u8] = &[4];

pub(super) struct Rules {
    pub(super) timeout: Option<Millis>,
    pub(super) shutdown: Shutdown,
}

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// The command's ends of the conversation.
struct Ends {
    outputs: Vec<(Channel, Reader)>,
    input: Option<Writer>,
    /// The terminal, for its size.
    size: Option<OwnedFd>,
}

/// Runs until the command has ended or the caller has left. Nothing of the command's session is left then.
pub(super) async fn talk(frames: Connection, started: Started, rules: &Rules) {
    let Started { mut child, terminal } = started;
    let leader = child.id();
    let guard = session::Guard(leader);
    let ends = ends(&mut child, terminal);
    let (sink, stream) = frames.split();
    let (out, queue) = mpsc::channel(QUEUE);
    let mut writer = Box::pin(write_frames(sink, queue));
    let talked = tokio::select! {
        // The caller takes nothing any more.
        () = &mut writer => false,
        () = converse(&mut child, ends, stream, out, rules) => true,
    };
    if talked {
        // The queue's other end is gone: the writer ends when all is said.
        let _ = tokio::time::timeout(FAREWELL, writer).await;
    }
    if let Some(leader) = leader {
        session::end(leader, GRACE).await;
    }
    // The session is gone; this reaps its leader, or ends one that had not begun it yet.
    let _ = child.kill().await;
    drop(guard);
}

fn ends(child: &mut Child, terminal: Option<terminal::Terminal>) -> Ends {
    if let Some(terminal) = terminal {
        let outputs: Vec<(Channel, Reader)> = vec![(Channel::Stdout, Box::new(terminal.reader))];
        return Ends { outputs, input: Some(Box::new(terminal.writer)), size: Some(terminal.size) };
    }
    let stdout = child.stdout.take().map(|pipe| (Channel::Stdout, Box::new(pipe) as Reader));
    let stderr = child.stderr.take().map(|pipe| (Channel::Stderr, Box::new(pipe) as Reader));
    let input = child.stdin.take().map(|pipe| Box::new(pipe) as Writer);
    Ends { outputs: stdout.into_iter().chain(stderr).collect(), input, size: None }
}

/// Says all that the command says, then how it ended.
async fn converse(
    child: &mut Child,
    ends: Ends,
    stream: SplitStream<Connection>,
    out: mpsc::Sender<Frame>,
    rules: &Rules,
) {
    let leader = child.id();
    let copies = ends.outputs.into_iter().map(|(channel, reader)| copy(reader, channel, out.clone()));
    let outputs = futures_util::future::join_all(copies);
    let (input, queue) = mpsc::channel(QUEUE);
    let is_terminal = ends.size.is_some();
    let listening = listen(stream, input, ends.size);
    let feeding = feed(queue, ends.input, is_terminal);
    let late = late(rules.timeout);
    tokio::pin!(outputs, listening, feeding, late);
    let (mut said, mut fed) = (false, false);
    let end = loop {
        tokio::select! {
            status = child.wait() => break ended(status),
            () = &mut listening => return,
            () = &mut late => break out_of_time(rules.timeout),
            () = rules.shutdown.wait() => break stopped(),
            _ = &mut outputs, if !said => said = true,
            () = &mut feeding, if !fed => fed = true,
        }
    };
    wind_down(leader, &end, outputs, said).await;
    // An error says that the caller has left.
    let _ = out.send(end_frame(&end)).await;
}

/// Ends what is left of the session, while its last output is still carried.
async fn wind_down(leader: Option<u32>, end: &ExecEnd, outputs: impl Future, said: bool) {
    let Some(leader) = leader else { return };
    let grace = if end.error.is_some() { GRACE } else { Duration::ZERO };
    tokio::join!(session::end(leader, grace), async {
        if !said {
            // What the command left in the background may hold the pipes open; it is being ended.
            let _ = tokio::time::timeout(grace + DRAIN, outputs).await;
        }
    });
}

async fn late(timeout: Option<Millis>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout.duration()).await,
        None => std::future::pending().await,
    }
}

fn ended(status: std::io::Result<ExitStatus>) -> ExecEnd {
    match status {
        Ok(status) => {
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
            ExecEnd { code, error: None }
        }
        Err(error) => ExecEnd { code: 1, error: Some(format!("can't wait for the command: {error}")) },
    }
}

fn out_of_time(timeout: Option<Millis>) -> ExecEnd {
    let error = format!("stopped after {}", timeout.unwrap_or_default());
    ExecEnd { code: TIMED_OUT, error: Some(error) }
}

fn stopped() -> ExecEnd {
    let error = "stopped, since the agent is being stopped; it is back in a moment".to_owned();
    ExecEnd { code: 128 + 15, error: Some(error) }
}

async fn write_frames(mut sink: SplitSink<Connection, Frame>, mut queue: mpsc::Receiver<Frame>) {
    while let Some(frame) = queue.recv().await {
        if sink.send(frame).await.is_err() {
            return;
        }
    }
}

async fn copy(mut from: Reader, channel: Channel, out: mpsc::Sender<Frame>) {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                let frame = Frame { channel, payload: Bytes::copy_from_slice(&buffer[..count]) };
                if out.send(frame).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Takes the caller's frames; ends when it leaves or says what is not understood.
async fn listen(mut stream: SplitStream<Connection>, input: mpsc::Sender<Bytes>, size: Option<OwnedFd>) {
    while let Some(Ok(frame)) = stream.next().await {
        match frame.channel {
            Channel::Stdin => {
                // Input that the command no longer takes is of no use.
                let _ = input.send(frame.payload).await;
            }
            Channel::Resize => {
                if let (Some(size), Ok(wanted)) = (&size, serde_json::from_slice(&frame.payload)) {
                    // It fails only when the terminal is gone, and then nothing shows its size.
                    let _ = terminal::resize(size, wanted);
                }
            }
            _ => return,
        }
    }
}

/// Gives the command its input; an empty piece is its end.
async fn feed(mut queue: mpsc::Receiver<Bytes>, mut input: Option<Writer>, is_terminal: bool) {
    while let Some(piece) = queue.recv().await {
        let Some(writer) = &mut input else { continue };
        let written = match (piece.is_empty(), is_terminal) {
            (false, _) => {
                async {
                    writer.write_all(&piece).await?;
                    writer.flush().await
                }
                .await
            }
            (true, true) => writer.write_all(END_OF_TRANSMISSION).await,
            (true, false) => {
                input = None;
                continue;
            }
        };
        if written.is_err() {
            input = None;
        }
    }
}
