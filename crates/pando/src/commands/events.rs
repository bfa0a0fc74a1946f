//! `pando events`: what was decided, and why.

use std::process::ExitCode;
use std::time::Duration;

use pando_api::client::Client;
use pando_api::v1::events::{Event, EventQuery};
use pando_model::name::AppName;

use crate::cli::EventsArgs;
use crate::context::Context;
use crate::follow::line;
use crate::printer::Style;

/// One long poll.
const WAIT_MILLIS: u64 = 20_000;
const RETRY: Duration = Duration::from_millis(500);

pub(crate) async fn run(args: &EventsArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let app = if args.all { None } else { context.app_if_any(&args.app)? };
    let (client, name) = match app {
        Some(app) => (app.client, Some(app.name)),
        None => (context.client()?, None),
    };
    let first =
        EventQuery { app: name.clone(), after: None, limit: Some(args.tail as usize), wait_millis: None };
    let page = client.events(&first).await?;
    tell(&page.events, context)?;
    if args.follow {
        tokio::select! {
            // Whatever was read is printed.
            followed = follow(client, name, page.next, context) => followed?,
            told = tokio::signal::ctrl_c() => told?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks for what comes after, again and again; ends with a failure alone.
async fn follow(
    client: Client,
    app: Option<AppName>,
    mut after: u64,
    context: &Context,
) -> anyhow::Result<()> {
    loop {
        let query =
            EventQuery { app: app.clone(), after: Some(after), limit: None, wait_millis: Some(WAIT_MILLIS) };
        match client.events(&query).await {
            Ok(page) => {
                tell(&page.events, context)?;
                after = page.next;
            }
            Err(error) if error.is_absence() => tokio::time::sleep(RETRY).await,
            Err(error) => return Err(error.into()),
        }
    }
}

fn tell(events: &[Event], context: &Context) -> anyhow::Result<()> {
    let printer = context.printer();
    for event in events {
        if printer.is_json() {
            printer.json(event)?;
            continue;
        }
        let app = event.app.as_ref().map(|app| format!("{app} ")).unwrap_or_default();
        let time = printer.paint().with(Style::Dim, &event.time.to_string());
        printer.line(format_args!("{time} {app}{}", line(printer, event)))?;
    }
    Ok(())
}
