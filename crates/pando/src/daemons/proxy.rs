//! `pando proxy`: the load balancer as a process of its own.

mod doors;
mod notify;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use pando_proxy::{
    AccessLog, Limits, LogTarget, Otlp, Predecessor, ProxyError, Settings, Successor, Tracing,
};
use pando_rt::shutdown::{Shutdown, termination};
use pando_rt::telemetry;
use tokio::sync::mpsc;

use super::args::{LogFormat, ProxyArgs};
use doors::Doors;
use notify::Notify;

/// Serves until SIGTERM or SIGINT, then finishes what is under way; or until another one has taken its place.
pub(crate) fn proxy(args: ProxyArgs) -> anyhow::Result<ExitCode> {
    start_telemetry(args.log_format);
    // Clients have threads of their own; what is left is probing, statistics and the log.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match (&args.control_socket, args.reload) {
            (Some(socket), true) => reload(socket).await,
            _ => serve(args).await,
        }
    })
}

/// Has the proxy at the control socket replace itself.
async fn reload(socket: &Path) -> anyhow::Result<ExitCode> {
    let pid = pando_proxy::upgrade(socket).await?;
    println!("process {pid} serves now");
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: ProxyArgs) -> anyhow::Result<ExitCode> {
    let mut inherited =
        pando_runtime::listen::inherited().context("can't take over the listening sockets")?;
    let mut predecessor = match (&args.control_socket, args.upgrade) {
        (Some(socket), true) => Predecessor::meet(socket).await?,
        _ => None,
    };
    let notify = Notify::new(&mut inherited, predecessor.is_some());
    let doors = Doors::find(&args, inherited.listeners, predecessor.as_mut())?;
    let (notices, told) = mpsc::channel(4);
    let settings = Settings {
        predecessor,
        notices: Some(notices),
        // Whoever keeps this process has to start the next one too.
        successor: if notify.is_kept() { None } else { successor()? },
        ..settings(args, doors)?
    };
    let shutdown = Shutdown::new();
    let ending = shutdown.clone();
    // The proxy has nothing more to tell once it has ended.
    let (ended, ()) =
        tokio::join!(until_told(pando_proxy::run(settings, shutdown), ending), notify.run(told));
    ended.map(|()| ExitCode::SUCCESS)
}

/// Until it ends by itself, or has ended after SIGTERM or SIGINT.
async fn until_told(
    serving: impl Future<Output = Result<(), ProxyError>>,
    ending: Shutdown,
) -> anyhow::Result<()> {
    tokio::pin!(serving);
    tokio::select! {
        // Serving goes on below, where it was; a signal that was not received yet stays pending.
        ended = &mut serving => ended?,
        told = termination() => {
            told?;
            ending.begin();
            serving.await?;
        }
    }
    Ok(())
}

/// The same as this process, from the program that is installed by then.
fn successor() -> anyhow::Result<Option<Successor>> {
    let program = super::parts::own_program()?;
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if !args.iter().any(|word| word == "--upgrade") {
        args.push("--upgrade".into());
    }
    Ok(Some(Successor { program, args }))
}

pub(crate) fn start_telemetry(format: LogFormat) {
    let format = match format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    telemetry::start(tracing::Level::INFO, format);
}

fn settings(args: ProxyArgs, doors: Doors) -> anyhow::Result<Settings> {
    let tracing = tracing(&args)?;
    let access_log =
        args.access_log.as_deref().map(|target| access_log(target, args.access_log_format.clone()));
    let handover =
        args.drain_timeout.map_or(Limits::default().handover, |seconds| Duration::from_secs(seconds.into()));
    Ok(Settings {
        listeners: doors.plain,
        tls_listeners: doors.tls,
        metrics_listener: doors.metrics,
        proxy_protocol_from: args.proxy_protocol_from,
        https_port: args.https_port.map(std::num::NonZero::get),
        control_socket: args.control_socket,
        table_file: args.table,
        state_file: args.state_file,
        access_log,
        tracing,
        workers: args.workers.map(std::num::NonZero::get),
        limits: Limits { handover, ..Limits::default() },
        ..Settings::default()
    })
}

fn tracing(args: &ProxyArgs) -> anyhow::Result<Option<Tracing>> {
    let endpoint = args.otlp_endpoint.as_ref().filter(|endpoint| !endpoint.is_empty());
    if !args.tracing && args.trace_ratio.is_none() && endpoint.is_none() {
        return Ok(None);
    }
    let headers = args.otlp_headers.as_deref().unwrap_or_default();
    let headers = headers.parse().context("can't use `--otlp-headers` (or OTEL_EXPORTER_OTLP_HEADERS)")?;
    let usual = Otlp::default();
    let otlp = endpoint.map(|endpoint| Otlp {
        endpoint: endpoint.clone(),
        headers,
        authority: args.otlp_ca.clone(),
        service_name: args.otlp_service.clone().unwrap_or(usual.service_name),
        ..usual
    });
    Ok(Some(Tracing { ratio: args.trace_ratio.unwrap_or(1.0), otlp }))
}

fn access_log(target: &Path, format: pando_proxy::LogFormat) -> AccessLog {
    let target =
        if target == Path::new("-") { LogTarget::Stdout } else { LogTarget::File(target.to_owned()) };
    AccessLog { format, target }
}
