//! One file to several clusters, one after the other or at the same time.
//!
//! What can be known without a cluster is refused before anything is sent to
//! any. From then on each target stands for itself: how one ends hides nothing of
//! the others, and `report` tells of all.

use std::path::PathBuf;
use std::process::ExitCode;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use pando_api::client::Client;
use pando_config::Target;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::outcome::Outcome;
use super::report::{self, Ended, Row};
use super::{artifact, bring_and_begin};
use crate::cli::DeployArgs;
use crate::context::Context;
use crate::exit::{INTERRUPTED, Trouble, trouble_of};
use crate::pack::Packed;
use crate::printer::Printer;

/// A target with all that its deployment needs.
struct Job {
    target: Target,
    /// Talks for this target, and remembers its cluster.
    context: Context,
    client: Client,
    cluster: String,
    /// Where its source is among what was packed.
    packed: Option<usize>,
}

pub(super) async fn deploy(
    context: &Context,
    targets: Vec<Target>,
    args: &DeployArgs,
) -> anyhow::Result<ExitCode> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let voices = voices(context.printer(), &targets, args.parallel);
    let jobs: Vec<Job> = targets
        .into_iter()
        .zip(voices)
        .map(|(target, voice)| job(context, target, voice))
        .collect::<Result<_, _>>()?;
    refuse_the_same_twice(&jobs)?;
    let (jobs, sources) = pack_each_once(jobs, context.printer()).await?;
    let rows = if args.parallel {
        join_all(jobs.iter().map(|job| run(job, &sources, args))).await
    } else {
        one_after_the_other(&jobs, &sources, args, context.printer(), &mut interrupts).await
    };
    report::tell(context.printer(), &rows)?;
    Ok(ExitCode::from(report::worst(&rows)))
}

/// At the same time, each line says whose it is.
fn voices(printer: Printer, targets: &[Target], parallel: bool) -> Vec<Printer> {
    let width = targets.iter().map(|target| called(target).len()).max().unwrap_or(0);
    let voice = |(index, target): (usize, &Target)| match parallel {
        true => printer.labelled(called(target), width, index),
        false => printer,
    };
    targets.iter().enumerate().map(voice).collect()
}

fn called(target: &Target) -> &str {
    target.name.as_deref().unwrap_or(target.spec.name.as_str())
}

fn job(context: &Context, target: Target, voice: Printer) -> anyhow::Result<Job> {
    let context = context.apart(voice);
    let client = context.client_for(Some(&target))?;
    let cluster =
        context.origin().map_or_else(|| client.url().to_owned(), |origin| origin.label(client.url()));
    Ok(Job { target, context, client, cluster, packed: None })
}

/// Two targets that are one app on one cluster: the second would take the place of the first.
fn refuse_the_same_twice(jobs: &[Job]) -> Result<(), Trouble> {
    for (index, job) in jobs.iter().enumerate() {
        let same = |other: &&Job| {
            other.client.url() == job.client.url() && other.target.spec.name == job.target.spec.name
        };
        if let Some(other) = jobs[..index].iter().find(same) {
            let message = format!(
                "`{}` and `{}` are both {} on the cluster {}: one would take the place of the other",
                called(&other.target),
                called(&job.target),
                job.target.spec.name,
                job.cluster
            );
            let hint = "give each a `cluster` (or `server`, or `name`) of its own; `--cluster`, PANDO_CLUSTER_URL and a \
                        `pando dev` in this directory come before those of the file";
            return Err(Trouble::wrong(message).hint(hint));
        }
    }
    Ok(())
}

/// However many targets have the same source.
async fn pack_each_once(mut jobs: Vec<Job>, printer: Printer) -> anyhow::Result<(Vec<Job>, Vec<Packed>)> {
    let mut places: Vec<PathBuf> = Vec::new();
    let mut sources = Vec::new();
    for job in &mut jobs {
        let Some(directory) = &job.target.source_dir else { continue };
        let place = directory.canonicalize().unwrap_or_else(|_| directory.clone());
        let known = places.iter().position(|known| *known == place);
        if known.is_none() {
            sources.push(artifact::pack_or_stop(directory, printer).await?);
            places.push(place);
        }
        job.packed = Some(known.unwrap_or(sources.len() - 1));
    }
    Ok((jobs, sources))
}

async fn one_after_the_other(
    jobs: &[Job],
    sources: &[Packed],
    args: &DeployArgs,
    printer: Printer,
    interrupts: &mut Signal,
) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut stopped = false;
    for (index, job) in jobs.iter().enumerate() {
        if stopped {
            rows.push(row(job, Ended::NotBegun));
            continue;
        }
        let name = called(&job.target);
        printer.talk(format_args!(
            "{name}, {} of {}, on the cluster {}:",
            index + 1,
            jobs.len(),
            job.cluster
        ));
        let row = run(job, sources, args).await;
        // Ctrl-C ends the whole, wherever it was heard.
        let interrupted = row.exit_code() == INTERRUPTED || interrupts.recv().now_or_never().is_some();
        stopped = interrupted || (args.stop_on_failure && row.exit_code() != 0);
        rows.push(row);
    }
    rows
}

/// Deploys it, and says at once how it ended.
async fn run(job: &Job, sources: &[Packed], args: &DeployArgs) -> Row {
    let packed = job.packed.and_then(|index| sources.get(index));
    let printer = job.context.printer();
    match bring_and_begin(&job.context, &job.client, &job.target, packed, args).await {
        Ok(outcome) => {
            if let Outcome::Live(live) = &outcome {
                live.lines(printer.talk_paint()).iter().for_each(|line| printer.talk(line));
            }
            row(job, Ended::Came(outcome))
        }
        Err(error) => {
            let trouble = trouble_of(&error, &job.context);
            printer.talk(trouble.render(printer.talk_paint()));
            row(job, Ended::Failed(trouble))
        }
    }
}

fn row(job: &Job, ended: Ended) -> Row {
    Row {
        target: job.target.name.clone(),
        app: job.target.spec.name.clone(),
        cluster: job.cluster.clone(),
        ended,
    }
}
