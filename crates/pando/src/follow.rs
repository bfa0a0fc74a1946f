//! Following a deployment to its end, and the words that it ends with.

mod failure;
mod summary;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use pando_api::client::Client;
use pando_api::v1::deployments::{Accepted, DeploymentQuery, DeploymentView};
use pando_api::v1::events::{Event, EventLevel};
use pando_api::v1::traffic::{Traffic, TrafficQuery};
use pando_api::{ClientError, ErrorCode};
use pando_model::desired::DeploymentPhase;
use pando_model::name::AppName;

use crate::context::Context;
use crate::exit::INTERRUPTED;
use crate::printer::{Printer, Style};
use crate::progress::Progress;

/// One long poll.
const WAIT_MILLIS: u64 = 10_000;
/// How long a control plane that went away in the middle is waited for: its daemon may be restarting.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(100);

/// What was counted before the deployment began; without it there is no summary.
pub(crate) async fn traffic(client: &Client, app: &AppName) -> Option<Traffic> {
    client.traffic(&TrafficQuery { app: Some(app.clone()) }).await.ok()
}

/// Follows it until it has ended, telling each decision; then tells how it went.
pub(crate) async fn follow(
    context: &Context,
    client: &Client,
    app: &AppName,
    accepted: &Accepted,
    before: Option<Traffic>,
) -> anyhow::Result<ExitCode> {
    let printer = context.printer();
    if !accepted.queued_behind.is_empty() {
        printer.talk(format_args!("{} waits: another deployment of {app} is under way", accepted.release));
    }
    let view = tokio::select! {
        view = until_ended(printer, client, app, accepted) => view?,
        told = tokio::signal::ctrl_c() => {
            told?;
            printer.talk(format_args!(
                "the deployment of {} goes on by itself; `pando status` shows it, `pando rollback` takes it back",
                accepted.release
            ));
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    match &view.deployment.phase {
        DeploymentPhase::Done { replaced } => {
            summary::tell(printer, client, app, &view, *replaced, before).await?;
            Ok(ExitCode::SUCCESS)
        }
        DeploymentPhase::Failed { failure } => {
            Err(failure::trouble(client, app, &view, failure).await.into())
        }
        other => anyhow::bail!("the deployment ended as {other:?}, which this version does not know"),
    }
}

async fn until_ended(
    printer: Printer,
    client: &Client,
    app: &AppName,
    accepted: &Accepted,
) -> anyhow::Result<DeploymentView> {
    let mut progress = Progress::new(printer);
    let (mut told, mut after, mut away) = (0, None, Away::default());
    loop {
        let query = DeploymentQuery { after, wait_millis: Some(WAIT_MILLIS) };
        let view = match client.deployment(app, accepted.deployment, &query).await {
            Ok(view) => view,
            Err(error) => {
                away.wait(error, &mut progress).await?;
                continue;
            }
        };
        away = Away::default();
        for event in view.progress.iter().skip(told) {
            progress.keep(&line(printer, event));
        }
        told = told.max(view.progress.len());
        if view.deployment.phase.has_ended() {
            return Ok(view);
        }
        let waits: Vec<String> = view.waiting_on.iter().map(|line| format!("  {line}")).collect();
        progress.show(&waits);
        after = Some(view.cursor);
    }
}

/// Since when the control plane has not answered.
#[derive(Debug, Default)]
struct Away(Option<Instant>);

impl Away {
    async fn wait(&mut self, error: ClientError, progress: &mut Progress) -> Result<(), ClientError> {
        let passing = matches!(
            error,
            ClientError::Unreachable { .. } | ClientError::Broken { .. } | ClientError::TimedOut { .. }
        ) || error.code() == Some(ErrorCode::Unavailable);
        let since = *self.0.get_or_insert_with(Instant::now);
        if !passing || since.elapsed() >= PATIENCE {
            return Err(error);
        }
        progress.show(&[
            "  the control plane does not answer; waiting for it (the deployment goes on)".to_owned()
        ]);
        tokio::time::sleep(RETRY).await;
        Ok(())
    }
}

/// An event as people read it.
pub(crate) fn line(printer: Printer, event: &Event) -> String {
    let style = match event.level {
        EventLevel::Info => Style::Plain,
        EventLevel::Warning => Style::Warn,
        EventLevel::Error => Style::Bad,
    };
    printer.talk_paint().with(style, &crate::words::harmless(&event.text))
}
