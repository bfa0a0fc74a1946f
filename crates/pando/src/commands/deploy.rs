//! `pando deploy`, `pando rollback`, `pando restart`: each makes a deployment and follows it.
//!
//! Which targets are meant is found in `chosen`; several are deployed by `several`.

mod artifact;
mod chosen;
mod outcome;
mod report;
mod several;

use std::process::ExitCode;

use pando_api::client::Client;
use pando_api::v1::deployments::{DeployAction, DeployRequest, DeployResponse, IfBusy};
use pando_config::Target;
use pando_model::name::AppName;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{AppArgs, DeployArgs, FollowArgs, RestartArgs, RollbackArgs};
use crate::context::Context;
use crate::follow::{self, Before, Followed};
use crate::pack::Packed;
use crate::words::harmless;
use outcome::Outcome;

pub(crate) async fn deploy(args: &DeployArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let targets = chosen::targets(args, context)?;
    chosen::check(&targets)?;
    if args.all || args.target.len() > 1 {
        return several::deploy(context, targets, args).await;
    }
    let mut code = ExitCode::SUCCESS;
    for target in &targets {
        let client = context.client_for(Some(target))?;
        let packed = match &target.source_dir {
            Some(directory) => Some(artifact::pack_or_stop(directory, context.printer()).await?),
            None => None,
        };
        let outcome = bring_and_begin(context, &client, target, packed.as_ref(), args).await?;
        code = outcome.tell(context.printer(), &target.spec.name)?;
    }
    Ok(code)
}

/// Sends what was packed, asks for the deployment and follows it.
async fn bring_and_begin(
    context: &Context,
    client: &Client,
    target: &Target,
    packed: Option<&Packed>,
    args: &DeployArgs,
) -> anyhow::Result<Outcome> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let (printer, dry_run) = (context.printer(), args.follow.dry_run);
    let artifact = match packed {
        Some(packed) => artifact::bring(printer, client, packed, dry_run, &mut interrupts).await?,
        None => artifact::bring_image(printer, client, target, dry_run, &mut interrupts).await?,
    };
    let action = DeployAction::Deploy { spec: Box::new(target.spec.clone()), artifact };
    let wish = Wish { action, how: args.follow, note: args.note.clone() };
    begin(context, client, &target.spec.name, wish, &mut interrupts).await
}

pub(crate) async fn rollback(args: &RollbackArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let action = DeployAction::Rollback { release: args.release };
    of_app(&args.app, Wish { action, how: args.follow, note: None }, context).await
}

pub(crate) async fn restart(args: &RestartArgs, context: &Context) -> anyhow::Result<ExitCode> {
    of_app(&args.app, Wish { action: DeployAction::Restart, how: args.follow, note: None }, context).await
}

async fn of_app(app: &AppArgs, wish: Wish, context: &Context) -> anyhow::Result<ExitCode> {
    let app = context.app(app)?;
    let mut interrupts = signal(SignalKind::interrupt())?;
    let outcome = begin(context, &app.client, &app.name, wish, &mut interrupts).await?;
    outcome.tell(context.printer(), &app.name)
}

/// What is asked for, and how.
struct Wish {
    action: DeployAction,
    how: FollowArgs,
    note: Option<String>,
}

/// Asks for the deployment and follows it. A Ctrl-C that comes with the asking counts once that is answered.
async fn begin(
    context: &Context,
    client: &Client,
    app: &AppName,
    wish: Wish,
    interrupts: &mut Signal,
) -> anyhow::Result<Outcome> {
    let Wish { action, how, note } = wish;
    let if_busy = if how.no_wait_turn { IfBusy::Refuse } else { IfBusy::Wait };
    // What is to be said of an image that was sent from here was said before it was.
    let was_sent = matches!(&action, DeployAction::Deploy { artifact: Some(_), .. });
    let request = DeployRequest { action, if_busy, dry_run: how.dry_run, note };
    let before = if how.detach || how.dry_run { Before::default() } else { Before::look(client, app).await };
    Ok(match client.deploy(app, &request).await? {
        DeployResponse::DryRun(dry_run) => Outcome::Planned(dry_run),
        DeployResponse::Accepted(accepted) if how.detach => Outcome::Recorded(accepted),
        DeployResponse::Accepted(accepted) => {
            match follow::follow(context, client, app, &accepted, before, interrupts).await? {
                Followed::Live(live) => {
                    let left = live.warnings.iter().filter(|_| !was_sent);
                    left.for_each(|warning| context.printer().warn(harmless(warning)));
                    Outcome::Live(live)
                }
                Followed::Left => Outcome::Left(accepted),
            }
        }
    })
}

/// The app of this directory, for `pando dev`.
pub(crate) async fn deploy_here(context: &Context) -> anyhow::Result<ExitCode> {
    deploy(&DeployArgs::default(), context).await
}
