//! `pando stop`, `pando start`, and waiting until an app is as it was asked to be.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use pando_api::v1::apps::{AppState, AppStatus, StopRequest};

use crate::cli::{StartArgs, StopArgs};
use crate::context::{App, Context};
use crate::exit::{FAILED, INTERRUPTED, Trouble};
use crate::follow::{Away, waits};
use crate::progress::Progress;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// After so long without being there, the command says what it waits for and ends; the cluster goes on.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

pub(crate) async fn stop(args: &StopArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let app = context.app(&args.app)?;
    app.client.stop(&app.name, &StopRequest { remove: args.remove_containers }).await?;
    let what =
        if args.remove_containers { "stopped and removed; its releases are kept packed" } else { "stopped" };
    end(context, &app, args.detach, Goal::Stopped, what).await
}

pub(crate) async fn start(args: &StartArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let app = context.app(&args.app)?;
    app.client.start(&app.name).await?;
    end(context, &app, args.detach, Goal::Running, "running").await
}

async fn end(context: &Context, app: &App, detach: bool, goal: Goal, what: &str) -> anyhow::Result<ExitCode> {
    if !detach {
        settle(context, app, goal).await?;
    }
    let printer = context.printer();
    if printer.is_json() {
        printer.json(&app.client.app(&app.name).await?)?;
    } else if detach {
        printer.line(format_args!("{}: under way; `pando status` shows it", app.name))?;
    } else {
        printer.line(format_args!("{} is {what}", app.name))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    Running,
    Stopped,
}

/// Waits until the app is there. Ctrl-C ends the waiting, not the work.
pub(crate) async fn settle(context: &Context, app: &App, goal: Goal) -> anyhow::Result<()> {
    tokio::select! {
        // Dropping the questions leaves the work as it is.
        there = until_there(context, app, goal) => there,
        told = tokio::signal::ctrl_c() => {
            told?;
            let trouble = Trouble::new(INTERRUPTED, "interrupted", "interrupted; what was asked for goes on by itself");
            Err(trouble.hint("`pando status` shows it").into())
        }
    }
}

async fn until_there(context: &Context, app: &App, goal: Goal) -> anyhow::Result<()> {
    let mut progress = Progress::new(context.printer());
    let mut away = Away::new("what was asked for goes on by itself".to_owned());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = match app.client.app(&app.name).await {
            Ok(status) => status,
            Err(error) => {
                away.wait(error, &mut progress).await?;
                continue;
            }
        };
        away.is_back(&mut progress);
        if is_there(&status, goal) {
            return Ok(());
        }
        let waits = waits(&status.waiting_on);
        if Instant::now() >= deadline {
            let message =
                format!("{} is not there after {} min; it goes on", app.name, PATIENCE.as_secs() / 60);
            let trouble = Trouble::new(FAILED, "timed_out", message).details(waits);
            return Err(trouble.hint("`pando status --watch` shows it").into());
        }
        progress.show(&waits);
        tokio::time::sleep(LOOK).await;
    }
}

fn is_there(status: &AppStatus, goal: Goal) -> bool {
    match goal {
        Goal::Stopped => status.state == AppState::Stopped,
        Goal::Running => {
            let counts = status.processes.iter().all(|p| p.ready == p.wanted && p.existing == p.wanted);
            status.state == AppState::Running && counts
        }
    }
}
