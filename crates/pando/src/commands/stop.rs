//! `pando stop`, `pando start`, and waiting until an app is as it was asked to be.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use pando_api::v1::apps::{AppState, AppStatus, StopRequest};

use crate::cli::{StartArgs, StopArgs};
use crate::context::{App, Context};
use crate::exit::{FAILED, INTERRUPTED, Trouble};
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
    let mut progress = Progress::new(context.printer());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = app.client.app(&app.name).await?;
        if is_there(&status, goal) {
            return Ok(());
        }
        let waits: Vec<String> = status.waiting_on.iter().map(|line| format!("  {line}")).collect();
        if Instant::now() >= deadline {
            let message =
                format!("{} is not there after {} min; it goes on", app.name, PATIENCE.as_secs() / 60);
            return Err(Trouble::new(FAILED, "timed_out", message)
                .details(waits)
                .hint("`pando status --watch` shows it")
                .into());
        }
        progress.show(&waits);
        tokio::select! {
            // A sleep that is cut short costs nothing.
            () = tokio::time::sleep(LOOK) => {}
            told = tokio::signal::ctrl_c() => {
                told?;
                let trouble = Trouble::new(INTERRUPTED, "interrupted", "it goes on by itself; `pando status` shows it");
                return Err(trouble.into());
            }
        }
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
