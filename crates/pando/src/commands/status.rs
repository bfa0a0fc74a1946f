//! `pando status`: what runs, and what is waited for.

use std::process::ExitCode;
use std::time::Duration;

use pando_api::client::Client;
use pando_api::v1::apps::{AppState, AppStatus, AppSummary, ReplicaState, ReplicaStatus};
use pando_api::v1::status::{ClusterStatus, ServerStatus};
use pando_model::desired::{Deployment, DeploymentPhase};

use crate::cli::StatusArgs;
use crate::commands::interlude;
use crate::commands::server::{server_table, server_word, standing_word};
use crate::context::{App, Context};
use crate::printer::{Paint, Printer, Style};
use crate::table::{Cell, Table};
use crate::watch::{Pace, Picture};
use crate::words::{age, counted, harmless, listed, now};

const PACE: Pace = Pace { every: Duration::from_secs(1), patience: Duration::from_secs(3) };

pub(crate) async fn run(args: &StatusArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let app = if args.all { None } else { context.app_if_any(&args.app)? };
    let client = match &app {
        Some(app) => app.client.clone(),
        None => context.client()?,
    };
    if args.watch {
        watch(context, app.as_ref(), &client).await?;
        return Ok(ExitCode::SUCCESS);
    }
    show(context.printer(), app.as_ref(), &client).await?;
    Ok(ExitCode::SUCCESS)
}

async fn show(printer: Printer, app: Option<&App>, client: &Client) -> anyhow::Result<()> {
    let seen = Seen::look(app, client).await?;
    match printer.is_json() {
        true => seen.json(printer),
        false => printer.lines(&seen.lines(printer.paint(), true)),
    }
}

/// Anew every second, until the program is told to end.
pub(crate) async fn watch(context: &Context, app: Option<&App>, client: &Client) -> anyhow::Result<()> {
    crate::watch::watch(context.printer(), PACE, async || Seen::look(app, client).await).await
}

/// What is shown, as it was at one moment.
enum Seen {
    /// A token for one app may not see the cluster; the app is what was asked for.
    App(Box<AppStatus>, Option<ClusterStatus>),
    Cluster(ClusterStatus),
}

impl Seen {
    async fn look(app: Option<&App>, client: &Client) -> anyhow::Result<Self> {
        let Some(app) = app else { return Ok(Self::Cluster(client.status().await?)) };
        let (status, cluster) = tokio::join!(client.app(&app.name), client.status());
        Ok(Self::App(Box::new(status?), cluster.ok()))
    }
}

impl Picture for Seen {
    /// Ages and open requests move.
    fn lines(&self, paint: Paint, moving: bool) -> Vec<String> {
        match self {
            Self::App(status, cluster) => of_app(status, cluster.as_ref(), paint, moving),
            Self::Cluster(status) => of_cluster(status, paint),
        }
    }

    fn json(&self, printer: Printer) -> anyhow::Result<()> {
        match self {
            Self::App(status, _) => printer.json(status),
            Self::Cluster(status) => printer.json(status),
        }
    }
}

fn of_app(status: &AppStatus, cluster: Option<&ClusterStatus>, paint: Paint, moving: bool) -> Vec<String> {
    let mut lines = vec![head(status, paint)];
    lines.extend(cluster.map(|cluster| servers(cluster, paint)));
    lines.extend(status.deployment.as_ref().and_then(|deployment| under_way(status, deployment)));
    if status.queued > 0 {
        let verb = if status.queued == 1 { "waits" } else { "wait" };
        lines.push(format!("{} {verb} behind it", counted(status.queued as u64, "deployment")));
    }
    if let Some(DeploymentPhase::Failed { failure }) = status.last.as_ref().map(|last| &last.phase) {
        let release = status.last.as_ref().map(|last| last.release.to_string()).unwrap_or_default();
        lines.push(paint.with(
            Style::Bad,
            &format!(
                "the last deployment ({release}) failed: {}",
                harmless(failure.message.lines().next().unwrap_or_default())
            ),
        ));
    }
    lines.extend(interlude::lines(&status.wish, now()).iter().map(|line| paint.with(Style::Warn, line)));
    if !status.replicas.is_empty() {
        lines.push(String::new());
        lines.extend(replicas(&status.replicas, paint, moving));
    }
    if !status.waiting_on.is_empty() {
        lines.push(String::new());
        lines.extend(status.waiting_on.iter().map(|line| harmless(line)));
    }
    lines.extend(below(warnings(status, cluster), paint));
    lines
}

/// The app's own, and the cluster's where that may be seen, which has those of the app's servers too.
fn warnings<'a>(
    status: &'a AppStatus,
    cluster: Option<&'a ClusterStatus>,
) -> impl Iterator<Item = &'a String> {
    let of_cluster = cluster.into_iter().flat_map(|cluster| &cluster.warnings);
    status.warnings.iter().chain(of_cluster.filter(|warning| !status.warnings.contains(warning)))
}

/// `None`: what is waited for says it already.
fn under_way(status: &AppStatus, deployment: &Deployment) -> Option<String> {
    let release = deployment.release;
    let said = format!("{release} ");
    if status
        .waiting_on
        .iter()
        .any(|line| line.starts_with(&said) || line.contains(&format!(" from {release}:")))
    {
        return None;
    }
    let what = match &deployment.phase {
        DeploymentPhase::Queued => "waits for its turn",
        DeploymentPhase::Releasing { .. } => "is being brought to the servers",
        DeploymentPhase::Rolling => "is rolling out",
        DeploymentPhase::GoingBack { .. } => "failed and is being taken back",
        DeploymentPhase::Done { .. } => "is live",
        DeploymentPhase::Failed { .. } => "failed",
    };
    Some(format!("{release} {what}"))
}

/// `2 servers: main (alive) and app-2 (suspect)`
fn servers(cluster: &ClusterStatus, paint: Paint) -> String {
    let one = |server: &ServerStatus| {
        let (word, style) = server_word(server.state);
        let standing = standing_word(server.standing).map(|word| format!(", {word}")).unwrap_or_default();
        format!("{} ({}{standing})", server.name, paint.with(style, word))
    };
    format!(
        "{}: {}",
        counted(cluster.servers.len() as u64, "server"),
        listed(cluster.servers.iter().map(one))
    )
}

/// `hits v3 running: web 3 of 3 http://localhost:8080`
fn head(status: &AppStatus, paint: Paint) -> String {
    let (word, style) = state_word(status.state);
    let release = status.release.map(|release| format!(" {release}")).unwrap_or_default();
    let count = |process: &pando_api::v1::apps::ProcessStatus| {
        let scaled = if process.scaled { " (scaled)" } else { "" };
        format!("{} {} of {}{scaled}", process.process, process.ready, process.wanted)
    };
    let counts: Vec<String> = status.processes.iter().map(count).collect();
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let urls = status.urls.iter().map(|url| format!(" {url}")).collect::<String>();
    format!(
        "{}{release} {}{counts}{urls}",
        paint.with(Style::Bold, status.name.as_str()),
        paint.with(style, word)
    )
}

fn state_word(state: AppState) -> (&'static str, Style) {
    match state {
        AppState::New => ("was never live", Style::Dim),
        AppState::Running => ("running", Style::Good),
        AppState::Degraded => ("degraded", Style::Warn),
        AppState::Deploying => ("deploying", Style::Hint),
        AppState::GoingBack => ("going back", Style::Warn),
        AppState::Stopping => ("stopping", Style::Dim),
        AppState::Stopped => ("stopped", Style::Dim),
    }
}

fn replicas(replicas: &[ReplicaStatus], paint: Paint, moving: bool) -> Vec<String> {
    let mut table = Table::new(&[
        "REPLICA", "SERVER", "RELEASE", "STATE", "SINCE", "RESTARTS", "PORT", "OPEN", "PROBLEM",
    ]);
    for replica in replicas {
        let (word, style) = replica_word(replica.state);
        let some = |number: u64| if number == 0 { String::new() } else { number.to_string() };
        table.row(vec![
            (&replica.replica).into(),
            (&replica.server_name).into(),
            replica.release.into(),
            Cell::styled(word, style),
            if moving { age(replica.since, now()) } else { String::new() }.into(),
            some(u64::from(replica.restarts)).into(),
            replica.port.into(),
            some(if moving { replica.in_flight } else { 0 }).into(),
            harmless(replica.problem.as_deref().unwrap_or_default()).into(),
        ]);
    }
    table.lines(paint)
}

pub(crate) fn replica_word(state: ReplicaState) -> (&'static str, Style) {
    match state {
        ReplicaState::Pending => ("pending", Style::Dim),
        ReplicaState::Starting => ("starting", Style::Hint),
        ReplicaState::Ready => ("ready", Style::Hint),
        ReplicaState::Serving => ("serving", Style::Good),
        ReplicaState::Unhealthy => ("unhealthy", Style::Bad),
        ReplicaState::BackingOff => ("backing off", Style::Bad),
        ReplicaState::Draining => ("draining", Style::Warn),
        ReplicaState::Stopping => ("stopping", Style::Dim),
        ReplicaState::Failed => ("failed", Style::Bad),
        ReplicaState::Lost => ("lost", Style::Bad),
    }
}

pub(crate) fn of_cluster(status: &ClusterStatus, paint: Paint) -> Vec<String> {
    let mut apps = Table::new(&["APP", "RELEASE", "STATE", "READY", "ADDRESS"]);
    for app in &status.apps {
        let (word, style) = state_word(app.state);
        let release = app.release.map(|release| release.to_string()).unwrap_or_default();
        let ready = format!("{} of {}", app.ready, app.wanted);
        apps.row(vec![
            (&app.name).into(),
            release.into(),
            Cell::styled(word, style),
            ready.into(),
            app.urls.join(" ").into(),
        ]);
    }
    let mut lines = server_table(&status.servers, paint);
    lines.push(String::new());
    lines.extend(if status.apps.is_empty() { vec!["no apps yet".to_owned()] } else { apps.lines(paint) });
    lines.extend(interludes(&status.apps).map(|line| paint.with(Style::Warn, &line)));
    lines.extend(below(&status.warnings, paint));
    lines
}

/// Warnings, apart from what is above them.
fn below<'a>(warnings: impl IntoIterator<Item = &'a String>, paint: Paint) -> Vec<String> {
    let mut lines: Vec<String> =
        warnings.into_iter().map(|warning| paint.with(Style::Warn, &harmless(warning))).collect();
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}

/// Apps whose requests are not served as always.
pub(crate) fn interludes(apps: &[AppSummary]) -> impl Iterator<Item = String> {
    apps.iter().flat_map(|app| {
        let maintenance = app.maintenance_since;
        let maintenance =
            maintenance.map(|since| format!("{}: maintenance for {}", app.name, age(since, now())));
        let paused = app.paused_until.map(|_| format!("{}: requests wait (`pando pause`)", app.name));
        maintenance.into_iter().chain(paused)
    })
}
