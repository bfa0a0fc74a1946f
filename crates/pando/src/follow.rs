//! Following a deployment to its end, and the words that it ends with.
//!
//! What a view of it says is judged in `story`, how it ended is told by `summary`
//! and `failure`; here is the asking, again and again, through interruptions.

mod away;
mod failure;
mod story;
mod summary;

use pando_api::client::Client;
use pando_api::v1::deployments::{Accepted, DeploymentQuery, DeploymentView};
use pando_api::v1::events::{Event, EventLevel};
use pando_api::v1::traffic::{Traffic, TrafficQuery};
use pando_model::desired::DeploymentPhase;
use pando_model::name::AppName;
use pando_model::release::ReleaseNumber;
use tokio::signal::unix::Signal;
use tokio::time::Instant;

pub(crate) use away::Away;
pub(crate) use summary::Live;

use crate::context::Context;
use crate::printer::{Printer, Style};
use crate::progress::Progress;
use story::Story;

/// One long poll on a terminal, where every change shows.
const WAIT_MILLIS: u64 = 10_000;
/// Without a terminal: nothing printed for so long, and what is waited for is, if it is something else than before.
const QUIET_MILLIS: u64 = 5000;

/// How things were before a deployment.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// What the app ran.
    release: Option<ReleaseNumber>,
    /// Replicas of it existed.
    ran: bool,
    /// What was counted until then; without it there is no summary.
    traffic: Option<Traffic>,
}

impl Before {
    /// Asks for both at once. What can't be told is left out: a deploy needs neither.
    pub(crate) async fn look(client: &Client, app: &AppName) -> Self {
        let (status, traffic) = tokio::join!(client.app(app), traffic(client, app));
        let status = status.ok();
        Self {
            release: status.as_ref().and_then(|status| status.release),
            ran: status.is_some_and(|status| !status.replicas.is_empty()),
            traffic,
        }
    }
}

async fn traffic(client: &Client, app: &AppName) -> Option<Traffic> {
    client.traffic(&TrafficQuery { app: Some(app.clone()) }).await.ok()
}

/// How following a deployment ended; one that failed is an error.
#[derive(Debug)]
pub(crate) enum Followed {
    Live(Box<Live>),
    /// It was left going on by itself, and that was said.
    Left,
}

/// Follows it until it has ended, telling each decision.
///
/// # Errors
/// The deployment failed, or can't be followed any more.
pub(crate) async fn follow(
    context: &Context,
    client: &Client,
    app: &AppName,
    accepted: &Accepted,
    before: Before,
    interrupts: &mut Signal,
) -> anyhow::Result<Followed> {
    let printer = context.printer();
    if !accepted.queued_behind.is_empty() {
        printer.talk(format_args!("{} waits: another deployment of {app} is under way", accepted.release));
    }
    let mut story = Story::new(before.release);
    let view = tokio::select! {
        // Dropping the question leaves the deployment as it is.
        view = until_ended(printer, client, app, accepted, &mut story) => view?,
        _ = interrupts.recv() => {
            printer.talk(format_args!(
                "the deployment of {} goes on by itself; `pando status` shows it, `pando rollback` takes it back",
                accepted.release
            ));
            return Ok(Followed::Left);
        }
    };
    match &view.deployment.phase {
        DeploymentPhase::Done { replaced } => {
            Ok(Followed::Live(Box::new(Live::of(client, app, &view, *replaced, &before).await)))
        }
        DeploymentPhase::Failed { failure } => {
            let now = client.app(app).await.ok();
            Err(failure::trouble(app, &view, failure, &story, now.as_ref()).into())
        }
        other => anyhow::bail!("the deployment ended as {other:?}, which this version does not know"),
    }
}

async fn until_ended(
    printer: Printer,
    client: &Client,
    app: &AppName,
    accepted: &Accepted,
    story: &mut Story,
) -> anyhow::Result<DeploymentView> {
    let mut progress = Progress::new(printer);
    let going_on = format!("the deployment of {} goes on by itself", accepted.release);
    let mut away = Away::new(going_on);
    let wait_millis = if progress.is_live() { WAIT_MILLIS } else { QUIET_MILLIS };
    let (mut after, mut told) = (None, Instant::now());
    loop {
        let query = DeploymentQuery { after, wait_millis: Some(wait_millis) };
        let view = match client.deployment(app, accepted.deployment, &query).await {
            Ok(view) => view,
            Err(error) => {
                away.wait(error, &mut progress).await?;
                // It may have another view of things now, under the same cursor.
                after = None;
                continue;
            }
        };
        away.is_back(&mut progress);
        for event in story.news(&view) {
            progress.keep(&step(printer, &view, event));
            told = Instant::now();
        }
        if view.deployment.phase.has_ended() {
            return Ok(view);
        }
        let quiet = told.elapsed().as_millis() >= u128::from(QUIET_MILLIS);
        if !progress.is_live() && quiet && story.waits_for_something_new(&view) {
            view.waiting_on.iter().for_each(|line| progress.keep(&format!("{:>9}  {line}", "waiting")));
            told = Instant::now();
        }
        progress.show(&waits(&view.waiting_on));
        after = Some(view.cursor);
    }
}

/// The lines of what is waited for, below those that stay.
pub(crate) fn waits(lines: &[String]) -> Vec<String> {
    /// More would push what stays off a small screen.
    const MOST: usize = 12;
    lines.iter().take(MOST).map(|line| format!("{:9}  {}", "", crate::words::harmless(line))).collect()
}

/// An event, with how long after the deployment's beginning it came.
fn step(printer: Printer, view: &DeploymentView, event: &Event) -> String {
    let time = crate::words::took(event.time.since(view.deployment.created_at));
    let time = printer.talk_paint().with(Style::Dim, &format!("{time:>9}"));
    format!("{time}  {}", line(printer, event))
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
