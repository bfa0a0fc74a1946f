//! `pando deploy`, `pando rollback`, `pando restart`: each makes a deployment and follows it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pando_api::client::Client;
use pando_api::v1::deployments::{DeployAction, DeployRequest, DeployResponse, IfBusy};
use pando_config::Target;
use pando_model::name::AppName;
use pando_model::release::Digest;
use pando_model::resources::Bytes;
use serde_json::json;

use crate::cli::{DeployArgs, FollowArgs, RestartArgs, RollbackArgs};
use crate::context::{Context, choose_target};
use crate::exit::{FAILED, INTERRUPTED, Trouble};
use crate::follow::{self, Before};
use crate::pack::{Limits, PackError, Packed, pack};
use crate::progress::Progress;
use crate::words::{counted, listed, took};

pub(crate) async fn deploy(args: &DeployArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let targets = chosen(args, context)?;
    if let [target] = &targets[..] {
        return deploy_target(context, target, args).await;
    }
    for (index, target) in targets.iter().enumerate() {
        context.printer().talk(format_args!("{}:", called(target)));
        let ended = deploy_target(context, target, args).await;
        if !matches!(&ended, Ok(code) if *code == ExitCode::SUCCESS) {
            // What one target could not take, the next should not be given.
            tell_left_out(&targets[index + 1..], context);
            return ended;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn called(target: &Target) -> &str {
    target.name.as_deref().unwrap_or("the file without a target's keys")
}

fn tell_left_out(targets: &[Target], context: &Context) {
    if !targets.is_empty() {
        let names = listed(targets.iter().map(|target| format!("`{}`", called(target))));
        context.printer().warn(format_args!("not deployed, because of what failed before: {names}"));
    }
}

/// The targets that are meant. In `pando dev` the file without its targets' keys.
fn chosen(args: &DeployArgs, context: &Context) -> anyhow::Result<Vec<Target>> {
    let loaded = context.load(None)?;
    if !loaded.warnings.is_empty() {
        context.printer().talk(loaded.warnings.render(context.printer().talk_paint().is_coloured()));
    }
    if args.all {
        return Ok(if loaded.targets.is_empty() {
            loaded.base.into_iter().collect()
        } else {
            loaded.targets
        });
    }
    if !args.target.is_empty() {
        let named = |name: &String| {
            let found = loaded.targets.iter().find(|target| target.name.as_deref() == Some(name)).cloned();
            found.ok_or_else(|| {
                anyhow::Error::from(Trouble::wrong(format!("the file has no target `{name}`")))
            })
        };
        return args.target.iter().map(named).collect();
    }
    match (&loaded.targets[..], loaded.base) {
        ([], Some(base)) => Ok(vec![base]),
        ([target], None) => Ok(vec![target.clone()]),
        (_, Some(base)) if context.is_cluster_given()? => Ok(vec![base]),
        ([target], _) => Ok(vec![target.clone()]),
        (targets, _) => Err(choose_target(targets).into()),
    }
}

async fn deploy_target(context: &Context, target: &Target, args: &DeployArgs) -> anyhow::Result<ExitCode> {
    if target.unsupported.has_errors() {
        return Err(target.unsupported.clone().into());
    }
    let client = context.client_for(Some(target))?;
    let artifact = match &target.source_dir {
        Some(directory) => {
            let packed = pack_or_stop(directory).await?;
            tokio::select! {
                // What was sent of it is of no use to anybody and is forgotten there.
                sent = send(context, &client, &packed, args.follow.dry_run) => sent?,
                told = tokio::signal::ctrl_c() => return Err(stopped(told)),
            }
        }
        None => None,
    };
    let action = DeployAction::Deploy { spec: Box::new(target.spec.clone()), artifact };
    begin(context, &client, &target.spec.name, action, args.follow, args.note.clone()).await
}

/// Packs on another thread; Ctrl-C ends that, and removes what was written.
async fn pack_or_stop(directory: &Path) -> anyhow::Result<Packed> {
    let stop = Arc::new(AtomicBool::new(false));
    let (directory, stopping) = (directory.to_owned(), Arc::clone(&stop));
    let mut packing = tokio::task::spawn_blocking(move || pack(&directory, Limits::default(), &stopping));
    tokio::select! {
        packed = &mut packing => packed?.map_err(|error| cannot_pack(&error).into()),
        told = tokio::signal::ctrl_c() => {
            stop.store(true, Ordering::Relaxed);
            // Whatever it came to, its file is gone with it.
            drop(packing.await);
            Err(stopped(told))
        }
    }
}

fn stopped(told: std::io::Result<()>) -> anyhow::Error {
    match told {
        Ok(()) => Trouble::new(INTERRUPTED, "interrupted", "interrupted: nothing was deployed").into(),
        Err(error) => error.into(),
    }
}

fn cannot_pack(error: &PackError) -> Trouble {
    let message = pando_rt::error_chain::error_chain(error);
    Trouble::new(FAILED, "pack", message).hint(error.hint())
}

/// Sends the packed release, unless the cluster has it. A dry run sends nothing, and names what the cluster has only.
async fn send(
    context: &Context,
    client: &Client,
    packed: &Packed,
    dry_run: bool,
) -> anyhow::Result<Option<Digest>> {
    let printer = context.printer();
    for note in &packed.notes {
        printer.warn(note);
    }
    let what = format!("{}, {}", counted(packed.files, "file"), Bytes(packed.bytes));
    if client.has_artifact(&packed.digest).await? {
        printer.talk(format_args!("packed {what}; the cluster has it already"));
        return Ok(Some(packed.digest.clone()));
    }
    if dry_run {
        printer.talk(format_args!("packed {what}; a deploy would send it"));
        return Ok(None);
    }
    let start = Instant::now();
    let mut progress = Progress::new(printer);
    let sent = Arc::new(AtomicU64::new(0));
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let sending = client.put_artifact(&packed.digest, packed.path(), Arc::clone(&sent));
    tokio::pin!(sending);
    loop {
        tokio::select! {
            // The upload goes on where it was; only the line is drawn anew.
            stored = &mut sending => {
                stored?;
                break;
            }
            _ = tick.tick() => progress.show(&[upload_line(&sent, packed.bytes)]),
        }
    }
    progress.keep(&format!("packed and sent {what} in {}", took(start.elapsed().into())));
    Ok(Some(packed.digest.clone()))
}

fn upload_line(sent: &AtomicU64, all: u64) -> String {
    let sent = sent.load(Ordering::Relaxed).min(all);
    let percent = (sent * 100).checked_div(all).unwrap_or(100);
    format!("  sending {} of {} ({percent} %)", Bytes(sent), Bytes(all))
}

pub(crate) async fn rollback(args: &RollbackArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let app = context.app(&args.app)?;
    let action = DeployAction::Rollback { release: args.release };
    begin(context, &app.client, &app.name, action, args.follow, None).await
}

pub(crate) async fn restart(args: &RestartArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let app = context.app(&args.app)?;
    begin(context, &app.client, &app.name, DeployAction::Restart, args.follow, None).await
}

/// Asks for the deployment and follows it.
async fn begin(
    context: &Context,
    client: &Client,
    app: &AppName,
    action: DeployAction,
    how: FollowArgs,
    note: Option<String>,
) -> anyhow::Result<ExitCode> {
    let printer = context.printer();
    let if_busy = if how.no_wait_turn { IfBusy::Refuse } else { IfBusy::Wait };
    let request = DeployRequest { action, if_busy, dry_run: how.dry_run, note };
    let before = if how.detach || how.dry_run { Before::default() } else { Before::look(client, app).await };
    match client.deploy(app, &request).await? {
        DeployResponse::DryRun(dry_run) if printer.is_json() => printer.json(&dry_run)?,
        DeployResponse::DryRun(dry_run) => {
            printer.talk(format_args!("{app} {} would go so, if all goes well:", dry_run.release));
            let numbered = dry_run.plan.iter().enumerate().map(|(n, line)| format!("{:>3}. {line}", n + 1));
            printer.lines(&numbered.collect::<Vec<_>>())?;
            printer.talk("nothing was changed");
        }
        DeployResponse::Accepted(accepted) if how.detach => {
            if printer.is_json() {
                printer.json(
                    &json!({ "app": app, "release": accepted.release, "deployment": accepted.deployment }),
                )?;
            } else {
                printer
                    .line(format_args!("{app} {} is under way; `pando status` shows it", accepted.release))?;
            }
        }
        DeployResponse::Accepted(accepted) => {
            return follow::follow(context, client, app, &accepted, before).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The app of this directory, for `pando dev`.
pub(crate) async fn deploy_here(context: &Context) -> anyhow::Result<ExitCode> {
    let args = DeployArgs { target: Vec::new(), all: false, note: None, follow: FollowArgs::default() };
    deploy(&args, context).await
}
