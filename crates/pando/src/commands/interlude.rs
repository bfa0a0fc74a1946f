//! `pando maintenance`, `pando pause` and `pando resume`: what holds for all requests of an app for a while.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use pando_api::v1::apps::{AppStatus, MaintenanceRequest, PauseRequest};
use pando_model::desired::Wish;
use pando_model::time::{Millis, Timestamp};

use crate::cli::{MaintenanceArgs, MaintenanceCommand, MaintenanceOnArgs, PauseArgs, ResumeArgs, Span};
use crate::context::{App, Context};
use crate::exit::{FAILED, Trouble};
use crate::words::{age, harmless, listed, now};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Load balancers take a table in within a second; one that hasn't after so long has another problem.
const PATIENCE: Duration = Duration::from_secs(15);
/// One byte more than a page may have.
const MOST_PAGE: u64 = (64 << 10) + 1;

pub(crate) async fn maintenance(args: &MaintenanceArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match &args.command {
        MaintenanceCommand::On(args) => on(args, context).await?,
        MaintenanceCommand::Off { app } => {
            let app = context.app(app)?;
            app.client.end_maintenance(&app.name).await?;
            taken_in(&app, context).await?;
        }
        MaintenanceCommand::Status { app } => {
            let app = context.app(app)?;
            let status = app.client.app(&app.name).await?;
            show(&status, context)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn on(args: &MaintenanceOnArgs, context: &Context) -> anyhow::Result<()> {
    let page = args.page.as_deref().map(read_page).transpose()?;
    let app = context.app(&args.app)?;
    let request = MaintenanceRequest {
        allow: args.allow.clone(),
        message: args.message.clone(),
        page,
        retry_after: args.retry_after.map(millis),
    };
    app.client.begin_maintenance(&app.name, &request).await?;
    taken_in(&app, context).await
}

/// No more of it than the cluster would take.
fn read_page(path: &Path) -> anyhow::Result<String> {
    let mut page = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MOST_PAGE).read_to_string(&mut page));
    match read {
        Ok(_) => Ok(page),
        Err(error) => {
            let trouble = Trouble::wrong(format!("can't read the page `{}`: {error}", path.display()));
            Err(trouble
                .hint("`--page` takes a file of HTML in UTF-8; it is read here, not on the servers")
                .into())
        }
    }
}

fn millis(span: Span) -> Millis {
    Millis(u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) async fn pause(args: &PauseArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let app = context.app(&args.app)?;
    let request = PauseRequest { length: Some(millis(args.length)), most: Some(args.most) };
    app.client.pause(&app.name, &request).await?;
    taken_in(&app, context).await?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn resume(args: &ResumeArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let app = context.app(&args.app)?;
    app.client.resume(&app.name).await?;
    taken_in(&app, context).await?;
    Ok(ExitCode::SUCCESS)
}

/// Waits until load balancers do as was said, so that a script can go on; then says how things are.
async fn taken_in(app: &App, context: &Context) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = app.client.app(&app.name).await?;
        if status.wish_in_force {
            return show(&status, context);
        }
        if Instant::now() >= deadline {
            let message =
                format!("{}: not every load balancer has taken it in; it stays asked for", app.name);
            let trouble = Trouble::new(FAILED, "timed_out", message);
            return Err(trouble.hint("`pando lb status` shows who is behind").into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn show(status: &AppStatus, context: &Context) -> anyhow::Result<()> {
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&status.wish);
    }
    let lines = lines(&status.wish, now());
    let said = if lines.is_empty() { vec!["its requests are served".to_owned()] } else { lines };
    for line in said {
        printer.line(format_args!("{}: {line}", status.name))?;
    }
    Ok(())
}

/// One line each for maintenance and a pause; none where requests are served as always.
pub(crate) fn lines(wish: &Wish, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(maintenance) = &wish.maintenance {
        let passes = match &maintenance.allow[..] {
            [] => "nobody passes".to_owned(),
            networks => {
                format!("what comes from {} passes", listed(networks.iter().map(ToString::to_string)))
            }
        };
        let (since, by) = (age(maintenance.since, now), harmless(&maintenance.by));
        lines.push(format!("maintenance for {since}, says {by}: visitors get 503, {passes}"));
    }
    if let Some(pause) = wish.pause_at(now) {
        let (left, by) = (pause.until.since(now), harmless(&pause.by));
        let left = left.0.div_ceil(1000);
        lines.push(format!(
            "requests wait, {left} s more at the most, says {by}; `pando resume` lets them go on"
        ));
    }
    lines
}
