//! `pando logs`: what the replicas write, of all of them in the order of time.

mod recent;

use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt as _;
use pando_api::client::LogLines;
use pando_api::v1::agents::{LogLine, LogStream};
use pando_api::v1::apps::ReplicaStatus;
use pando_api::v1::logs::AppLogQuery;
use pando_model::name::ProcessName;
use pando_model::time::{Millis, Timestamp};

use crate::cli::LogsArgs;
use crate::context::{App, Context};
use crate::exit::Trouble;
use crate::follow::Away;
use crate::printer::{Printer, Style};
use crate::progress::Progress;
use crate::words::{harmless, listed, now};
use recent::Recent;

const RETRY: Duration = Duration::from_millis(300);

pub(crate) async fn run(args: &LogsArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let app = context.app(&args.app)?;
    let since = args.since.map(|span| now() - Millis::from(span.0));
    let query = AppLogQuery {
        process: args.process.clone(),
        replica: args.replica.clone(),
        since_millis: since.map(Timestamp::as_millis),
        tail: args.tail,
        follow: args.follow,
    };
    let told = tell(&app, query, context.printer(), args.timestamps);
    tokio::select! {
        // Following ends with Ctrl-C; whatever was read is printed.
        told = told => told?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints lines; while following, goes on where it was when the control plane comes back.
async fn tell(app: &App, mut query: AppLogQuery, printer: Printer, timestamps: bool) -> anyhow::Result<()> {
    let width = look(app, &query).await?;
    let mut screen = Screen { printer, timestamps, width, was_open: false, recent: Recent::default() };
    let mut progress = Progress::new(printer);
    let mut away = Away::new("replicas and their logs go on".to_owned());
    loop {
        let lines = app.client.logs(&app.name, &query).await;
        match lines {
            Ok(lines) => {
                away.is_back(&mut progress);
                progress.clear();
                screen.was_open = true;
                stream(lines, query.follow, &mut screen).await?;
                if !query.follow {
                    return Ok(());
                }
                // A pause before the next try, should every stream end at once.
                tokio::time::sleep(RETRY).await;
            }
            Err(error) if query.follow && screen.was_open => away.wait(error, &mut progress).await?,
            Err(error) => return Err(error.into()),
        }
        if let Some(since) = screen.recent.resume() {
            (query.since_millis, query.tail) = (Some(since.as_millis()), None);
        }
    }
}

/// How wide the sources are; and whether there is what was asked for.
async fn look(app: &App, query: &AppLogQuery) -> anyhow::Result<usize> {
    let status = app.client.app(&app.name).await?;
    let process = query.process.as_ref().or(query.replica.as_ref().map(|replica| &replica.process));
    let known: Vec<&ProcessName> = status.processes.iter().map(|process| &process.process).collect();
    if let Some(process) = process.filter(|process| !known.is_empty() && !known.contains(process)) {
        let there = listed(known.iter().map(|name| format!("`{name}`")));
        let trouble = Trouble::wrong(format!("{} has no process `{process}`", app.name));
        return Err(trouble.hint(format!("its processes are {there}")).into());
    }
    let shown = |replica: &&ReplicaStatus| {
        query.replica.as_ref().is_none_or(|wanted| *wanted == replica.replica)
            && query.process.as_ref().is_none_or(|wanted| *wanted == replica.process)
    };
    let widths = status.replicas.iter().filter(shown).map(|replica| replica.replica.to_string().len());
    Ok(widths.max().unwrap_or(0))
}

/// Until the stream's end. While following, a break is an end like any other.
async fn stream(mut lines: LogLines, follow: bool, screen: &mut Screen) -> anyhow::Result<()> {
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) => screen.show(&line)?,
            Err(error) if follow && error.is_absence() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Screen {
    printer: Printer,
    timestamps: bool,
    /// Of the longest source so far, so that lines stand in a column.
    width: usize,
    /// Lines came, or could have.
    was_open: bool,
    recent: Recent,
}

impl Screen {
    fn show(&mut self, line: &LogLine) -> anyhow::Result<()> {
        if self.recent.is_again(line) {
            return Ok(());
        }
        if self.printer.is_json() {
            return self.printer.json(line);
        }
        self.width = self.width.max(line.source.len());
        let paint = self.printer.paint();
        let source = format!("{:<width$}", line.source, width = self.width);
        let source = paint.with(Style::Source(colour(&line.source)), &source);
        let time = if self.timestamps { format!("{} ", line.time) } else { String::new() };
        let text = harmless(&line.text);
        let text = match line.stream {
            LogStream::Stdout | LogStream::Stderr => text,
            LogStream::Pando => paint.with(Style::Dim, &format!("({text})")),
        };
        self.printer.line(format_args!("{}{source} | {text}", paint.with(Style::Dim, &time)))
    }
}

/// The same source has the same colour in every call.
fn colour(source: &str) -> usize {
    source.bytes().fold(0, |sum, byte| sum + usize::from(byte))
}
