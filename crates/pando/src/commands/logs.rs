//! `pando logs`: what the replicas write, of all of them in the order of time.

use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt as _;
use pando_api::ClientError;
use pando_api::v1::agents::{LogLine, LogStream};
use pando_api::v1::logs::AppLogQuery;
use pando_model::time::{Millis, Timestamp};

use crate::cli::LogsArgs;
use crate::context::{App, Context};
use crate::printer::{Printer, Style};
use crate::words::{harmless, now};

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
    let mut screen = Screen { printer, timestamps, width: 0, last: Last::default() };
    loop {
        let ended = stream(app, &query, &mut screen).await;
        match ended {
            Ok(()) if !query.follow => return Ok(()),
            Err(error) if !query.follow || !is_absence(&error) => return Err(error),
            _ => {}
        }
        tokio::time::sleep(RETRY).await;
        if let Some(time) = screen.last.time {
            (query.since_millis, query.tail) = (Some(time.as_millis()), None);
        }
    }
}

fn is_absence(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ClientError>().is_some_and(ClientError::is_absence)
}

async fn stream(app: &App, query: &AppLogQuery, screen: &mut Screen) -> anyhow::Result<()> {
    let mut lines = app.client.logs(&app.name, query).await?;
    screen.last.again = screen.last.seen.clone();
    while let Some(line) = lines.next().await {
        screen.show(&line?)?;
    }
    Ok(())
}

/// The newest lines that were printed, all of one time: what comes again after a break is known by them.
#[derive(Debug, Default)]
struct Last {
    time: Option<Timestamp>,
    seen: Vec<LogLine>,
    /// To be passed over once each.
    again: Vec<LogLine>,
}

impl Last {
    fn is_again(&mut self, line: &LogLine) -> bool {
        let known = self.again.iter().position(|seen| seen == line);
        known.map(|place| self.again.swap_remove(place)).is_some()
    }

    fn note(&mut self, line: &LogLine) {
        if self.time != Some(line.time) {
            self.time = Some(line.time);
            self.seen.clear();
        }
        self.seen.push(line.clone());
    }
}

#[derive(Debug)]
struct Screen {
    printer: Printer,
    timestamps: bool,
    /// Of the longest source so far, so that lines stand in a column.
    width: usize,
    last: Last,
}

impl Screen {
    fn show(&mut self, line: &LogLine) -> anyhow::Result<()> {
        if self.last.is_again(line) {
            return Ok(());
        }
        self.last.note(line);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(millis: i64, text: &str) -> LogLine {
        let time = Timestamp::from_millis(millis);
        LogLine { time, source: "web-1".to_owned(), stream: LogStream::Stdout, text: text.to_owned() }
    }

    #[test]
    fn after_a_break_no_line_is_lost_or_told_twice() {
        let mut last = Last::default();
        for line in [line(1, "a"), line(2, "b"), line(2, "b")] {
            last.note(&line);
        }
        last.again = last.seen.clone();
        let fresh: Vec<bool> = [line(2, "b"), line(2, "b"), line(2, "b"), line(3, "c")]
            .iter()
            .map(|line| !last.is_again(line))
            .collect();
        assert_eq!(fresh, [false, false, true, true], "two were told; a third alike is new");
    }
}
