//! `pando deploy`, `pando rollback`, `pando restart`: each makes a deployment and follows it.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pando_api::client::Client;
use pando_api::v1::deployments::{DeployAction, DeployRequest, DeployResponse, IfBusy};
use pando_config::Target;
use pando_model::name::AppName;
use pando_model::release::Digest;
use pando_model::resources::Bytes;
use serde_json::json;

use crate::cli::{DeployArgs, FollowArgs, RestartArgs, RollbackArgs};
use crate::context::{Context, choose_target};
use crate::exit::{FAILED, Trouble, report};
use crate::follow;
use crate::pack::{Limits, PackError, Packed, pack};
use crate::progress::Progress;

pub(crate) async fn deploy(args: &DeployArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let targets = chosen(args, context)?;
    if let [target] = &targets[..] {
        return deploy_target(context, target, args).await;
    }
    let mut worst = ExitCode::SUCCESS;
    for target in &targets {
        let name = target.name.as_deref().unwrap_or("the root");
        context.printer().talk(format_args!("{name}:"));
        match deploy_target(context, target, args).await {
            Ok(code) if code == ExitCode::SUCCESS => {}
            Ok(code) => worst = code,
            // One target's failure must not hide the others' results.
            Err(error) => worst = report(&error, context),
        }
    }
    Ok(worst)
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
            let directory = directory.clone();
            let packed = tokio::task::spawn_blocking(move || pack(&directory, Limits::default())).await?;
            let packed = packed.map_err(|error| cannot_pack(&error))?;
            Some(send(context, &client, &packed, args.follow.dry_run).await?)
        }
        None => None,
    };
    let action = DeployAction::Deploy { spec: Box::new(target.spec.clone()), artifact };
    begin(context, &client, &target.spec.name, action, args.follow, args.note.clone()).await
}

fn cannot_pack(error: &PackError) -> Trouble {
    let message = pando_rt::error_chain::error_chain(error);
    Trouble::new(FAILED, "pack", message).hint(error.hint())
}

/// Sends the packed release, unless the cluster has it. A dry run sends nothing.
async fn send(context: &Context, client: &Client, packed: &Packed, dry_run: bool) -> anyhow::Result<Digest> {
    let printer = context.printer();
    for note in &packed.notes {
        printer.warn(note);
    }
    let size = Bytes(packed.bytes);
    if dry_run || client.has_artifact(&packed.digest).await? {
        return Ok(packed.digest.clone());
    }
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
            _ = tick.tick() => {
                let so_far = Bytes(sent.load(Ordering::Relaxed));
                progress.show(&[format!("  sending {so_far} of {size}")]);
            }
        }
    }
    progress.keep(&format!("sent {} in {size}", crate::words::counted(packed.files, "file")));
    Ok(packed.digest.clone())
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
    let before = follow::traffic(client, app).await;
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
