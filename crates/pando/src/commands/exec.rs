//! `pando run` and `pando exec`: a command in a release, or beside a replica.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use pando_api::client::ExecStream;
use pando_api::stream::{Channel, ExecEnd, Frame, MAX_FRAME};
use pando_api::v1::agents::ExecStart;
use pando_model::time::Millis;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{ExecArgs, RunArgs};
use crate::context::{App, Context};
use crate::exit::{FAILED, Trouble};
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
    drop(keyboard);
    let end = end?;
    match end.error {
        Some(error) => Err(Trouble::new(FAILED, "exec", error).into()),
        // 0 to 255 fits; anything else is a failure all the same.
        None => Ok(ExitCode::from(u8::try_from(end.code).unwrap_or(FAILED))),
    }
}

async fn converse(stream: ExecStream, terminal: bool) -> anyhow::Result<ExecEnd> {
    let (mut sink, mut frames) = stream.split();
    let (mut stdin, mut buffer) = (tokio::io::stdin(), vec![0; MAX_FRAME]);
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let mut resized = signal(SignalKind::window_change())?;
    let mut open = true;
    loop {
        tokio::select! {
            // Every arm is cancel-safe: a frame not yet whole stays in its buffer, a read of stdin that was not answered lost
            // nothing, signals stay pending.
            frame = frames.next() => {
                let Some(frame) = frame else { anyhow::bail!("the connection ended before the command did") };
                let frame = frame.context("the connection to the command broke")?;
                match frame.channel {
                    Channel::Stdout => write(&mut stdout, &frame.payload).await?,
                    Channel::Stderr => write(&mut stderr, &frame.payload).await?,
                    Channel::End => return serde_json::from_slice(&frame.payload).context("its end is not understood"),
                    Channel::Start | Channel::Stdin | Channel::Resize => {}
                }
            }
            read = stdin.read(&mut buffer), if open => {
                let read = read.unwrap_or(0);
                open = read > 0;
                let payload = Bytes::copy_from_slice(&buffer[..read]);
                // The command may have ended meanwhile; its end is on the way.
                let _ = sink.send(Frame { channel: Channel::Stdin, payload }).await;
            }
            _ = resized.recv(), if terminal => {
                let payload = serde_json::to_vec(&terminal::size())?.into();
                let _ = sink.send(Frame { channel: Channel::Resize, payload }).await;
            }
        }
    }
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
