//! `pando dev`: a whole cluster on this machine, for the app in this directory.

use std::path::Path;
use std::process::ExitCode;

use pando_model::app::RunSource;
use pando_model::name::ServerName;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::DevArgs;
use crate::commands::{deploy, status};
use crate::context::{App, Context};
use crate::daemons::dev;
use crate::exit::{FAILED, Trouble};
use crate::image::local_socket;

pub(crate) async fn run(args: &DevArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let project = context.project()?;
    if args.stop {
        return stop(&project, context).await;
    }
    if let Some(name) = &args.kill {
        return kill(&project, name, context).await;
    }
    // What is wrong with the file is said before anything starts.
    let loaded = context.load(None)?;
    let Some(base) = loaded.base else {
        return Err(Trouble::wrong(
            "the file is whole with one of its targets only, and `pando dev` uses none",
        )
        .into());
    };
    if base.unsupported.has_errors() {
        return Err(base.unsupported.into());
    }
    if let RunSource::Image { .. } = base.spec.run {
        // Containers run in the engine of this machine, or not at all: said before anything starts.
        local_socket()?;
    }
    let cluster = dev::up(&project, args.port, args.servers).await?;
    let context = context.speaking_to(&cluster.url, &cluster.token);
    let app = App { name: base.spec.name.clone(), client: context.client()? };
    context.printer().talk(format_args!(
        "the cluster is up; {} answers on http://localhost:{}",
        app.name,
        cluster.entry.port()
    ));
    let deployed = deploy::deploy_here(&context).await;
    if args.detach {
        return deployed;
    }
    follow(&project, &context, &app, deployed).await
}

/// Shows what runs until Ctrl-C, then ends everything.
async fn follow(
    project: &Path,
    context: &Context,
    app: &App,
    deployed: anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let watched = match deployed {
        Ok(code) if code == ExitCode::SUCCESS => {
            context.printer().talk(
                "Ctrl-C ends it; in another terminal: pando deploy, pando logs -f, pando scale web=5\n",
            );
            let mut terminal_gone = signal(SignalKind::hangup())?;
            tokio::select! {
                watched = status::watch(context, Some(app), &app.client) => watched.map(|()| code),
                // Cancel-safe; whoever closes the terminal wants the same as with Ctrl-C.
                _ = terminal_gone.recv() => Ok(code),
            }
        }
        other => other,
    };
    context.printer().talk("ending the cluster");
    dev::down(project).await?;
    watched
}

async fn stop(project: &Path, context: &Context) -> anyhow::Result<ExitCode> {
    let was_up = dev::down(project).await.map_err(|error| {
        let text = format!("the cluster does not end: {error:#}");
        Trouble::new(FAILED, "failed", text)
    })?;
    let printer = context.printer();
    if printer.is_json() {
        printer.json(&json!({ "stopped": was_up }))?;
    } else {
        printer.line(if was_up { "the cluster has ended" } else { "no cluster runs in this directory" })?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn kill(project: &Path, name: &ServerName, context: &Context) -> anyhow::Result<ExitCode> {
    let killed = dev::kill(project, name).await?;
    let Some(processes) = killed else {
        let text = format!("nothing of a server `{name}` runs in this directory");
        return Err(Trouble::wrong(text).hint("`pando server ls` lists those of the cluster").into());
    };
    let printer = context.printer();
    if printer.is_json() {
        printer.json(&json!({ "server": name, "processes": processes }))?;
    } else {
        printer.line(format_args!("killed {processes} processes of {name}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
