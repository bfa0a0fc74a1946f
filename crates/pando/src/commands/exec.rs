//! `pando run` and `pando exec`: a command in a release, or beside a replica.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use pando_api::client::ExecStream;
use pando_api::stream::{Channel, ExecEnd, Frame, MAX_FRAME};
use pando_api::v1::agents::ExecStart;
use pando_model::time::Millis;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{ExecArgs, RunArgs};
use crate::context::{App, Context};
use crate::exit::{FAILED, Trouble, UNREACHABLE};
use crate::terminal::{self, RawKeyboard};

pub(crate) async fn run(args: RunArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let app = context.app(&args.app)?;
    let start = start(&app, &args.command, args.timeout.map(|span| Millis::from(span.0)));
    talk(&app, ExecStart { release: args.release, ..start }).await
}

pub(crate) async fn exec(args: ExecArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let app = context.app(&args.app)?;
    let start = start(&app, &args.command, args.timeout.map(|span| Millis::from(span.0)));
    talk(&app, ExecStart { replica: Some(args.replica), ..start }).await
}

fn start(app: &App, words: &[String], timeout: Option<Millis>) -> ExecStart {
    ExecStart {
        app: app.name.clone(),
        replica: None,
        release: None,
        env: BTreeMap::new(),
        like: None,
        command: command_line(words),
        terminal: terminal::is_interactive().then(terminal::size),
        timeout,
    }
}

/// One word is a shell command line; several are a program and its arguments, each quoted.
fn command_line(words: &[String]) -> String {
    match words {
        [line] => line.clone(),
        words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Keys and input go there, output comes here, until the command has ended.
async fn talk(app: &App, start: ExecStart) -> anyhow::Result<ExitCode> {
    let terminal = start.terminal.is_some();
    let stream = app.client.exec(&start).await?;
    let keyboard = terminal.then(RawKeyboard::new).transpose().context("can't use the keyboard")?;
    let end = converse(stream, terminal).await;
    // The terminal is as it was before anything is said about the end.
    drop(keyboard);
    match end? {
        Ended::Command(ExecEnd { error: Some(error), .. }) => Err(Trouble::new(FAILED, "exec", error).into()),
        // 0 to 255 fits; anything else is a failure all the same.
        Ended::Command(end) => Ok(ExitCode::from(u8::try_from(end.code).unwrap_or(FAILED))),
        Ended::Signal(code) => Ok(ExitCode::from(code)),
    }
}

/// How the conversation ended.
enum Ended {
    Command(ExecEnd),
    /// This program was told to end; as exit code.
    Signal(u8),
}

async fn converse(stream: ExecStream, terminal: bool) -> anyhow::Result<Ended> {
    let (sink, frames) = stream.split();
    // With a raw keyboard, Ctrl-C is a key; whoever ends this program from outside finds the terminal as it was.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    tokio::select! {
        // Both directions go on side by side: a command that writes before it reads must not wait for itself. Whichever arm
        // ends, the conversation is over, so nothing is lost with the others.
        end = output(frames) => end.map(Ended::Command),
        failed = input(sink, terminal) => Err(failed),
        _ = terminated.recv() => Ok(Ended::Signal(128 + 15)),
        _ = hung_up.recv() => Ok(Ended::Signal(128 + 1)),
    }
}

/// What the command writes, until it has ended.
async fn output(mut frames: SplitStream<ExecStream>) -> anyhow::Result<ExecEnd> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some(frame) = frames.next().await {
        let frame =
            frame.map_err(|error| cut_off(&format!("the connection to the command broke: {error}")))?;
        match frame.channel {
            Channel::Stdout => write(&mut stdout, &frame.payload).await?,
            Channel::Stderr => write(&mut stderr, &frame.payload).await?,
            Channel::End => {
                return serde_json::from_slice(&frame.payload).context("its end is not understood");
            }
            Channel::Start | Channel::Stdin | Channel::Resize => {}
        }
    }
    Err(cut_off("the connection ended before the command did"))
}

/// Keys, input and the terminal's size. Ends only with a failure of this machine's own.
async fn input(mut sink: SplitSink<ExecStream, Frame>, terminal: bool) -> anyhow::Error {
    let mut resized = match signal(SignalKind::window_change()) {
        Ok(resized) => resized,
        Err(error) => return error.into(),
    };
    let (mut stdin, mut buffer, mut open) = (tokio::io::stdin(), vec![0; MAX_FRAME], true);
    loop {
        let frame = tokio::select! {
            // Cancel-safe: a read of stdin that was not answered lost nothing, a signal stays pending.
            read = stdin.read(&mut buffer), if open => {
                let read = read.unwrap_or(0);
                open = read > 0;
                Frame { channel: Channel::Stdin, payload: Bytes::copy_from_slice(&buffer[..read]) }
            }
            _ = resized.recv(), if terminal => Frame { channel: Channel::Resize, payload: size() },
            // Neither is left: the output decides.
            else => std::future::pending().await,
        };
        // The command may have ended meanwhile; its end is on the way.
        let _ = sink.send(frame).await;
    }
}

fn size() -> Bytes {
    serde_json::to_vec(&terminal::size()).unwrap_or_default().into()
}

fn cut_off(message: &str) -> anyhow::Error {
    let trouble = Trouble::new(UNREACHABLE, "broken", message);
    trouble
        .hint("whether the command goes on is not known; `pando status` shows whether the cluster answers")
        .into()
}

async fn write(to: &mut (impl tokio::io::AsyncWrite + Unpin), bytes: &[u8]) -> anyhow::Result<()> {
    to.write_all(bytes).await?;
    Ok(to.flush().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_words_are_a_program_and_its_arguments() {
        let words =
            |words: &[&str]| command_line(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["env | sort"]), "env | sort");
        assert_eq!(words(&["ls", "-l", "my file"]), "ls -l 'my file'");
        assert_eq!(words(&["echo", "it's", "$HOME", ""]), r"echo 'it'\''s' '$HOME' ''");
    }
}
