//! `pando proxy`: the load balancer as a process of its own.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use pando_proxy::{AccessLog, LogTarget, Settings};
use pando_rt::shutdown::{Shutdown, termination};
use pando_rt::telemetry;

use super::args::{AccessLogFormat, LogFormat, ProxyArgs};

/// Serves until SIGTERM or SIGINT, then finishes what is under way.
pub(crate) fn proxy(args: ProxyArgs) -> anyhow::Result<ExitCode> {
    start_telemetry(args.log_format);
    let settings = settings(args)?;
    // Clients have threads of their own; what is left is probing, statistics and the log.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::new();
        let ending = shutdown.clone();
        let serving = pando_proxy::run(settings, shutdown);
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
        Ok(ExitCode::SUCCESS)
    })
}

pub(crate) fn start_telemetry(format: LogFormat) {
    let format = match format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    telemetry::start(tracing::Level::INFO, format);
}

fn settings(args: ProxyArgs) -> anyhow::Result<Settings> {
    let (listeners, tls_listeners) = listeners(&args.listen, &args.listen_tls)?;
    let access_log = args.access_log.as_deref().map(|target| access_log(target, args.access_log_format));
    let metrics_listener = args.metrics.map(bind).transpose()?;
    Ok(Settings {
        listeners,
        tls_listeners,
        proxy_protocol_from: args.proxy_protocol_from,
        https_port: args.https_port.map(std::num::NonZero::get),
        control_socket: args.control_socket,
        table_file: args.table,
        state_file: args.state_file,
        access_log,
        metrics_listener,
        workers: args.workers.map(std::num::NonZero::get),
        ..Settings::default()
    })
}

/// Those without TLS, and those with.
fn listeners(
    plain: &[SocketAddr],
    tls: &[SocketAddr],
) -> anyhow::Result<(Vec<TcpListener>, Vec<TcpListener>)> {
    let mut given = pando_runtime::listen::inherited().context("can't take over the listening sockets")?;
    let tls =
        tls.iter().map(|address| take_or_bind(&mut given, *address)).collect::<anyhow::Result<Vec<_>>>()?;
    for address in plain {
        given.push(bind(*address)?);
    }
    if given.is_empty() && tls.is_empty() {
        anyhow::bail!("nothing to listen on: give `--listen ADDRESS:PORT`");
    }
    Ok((given, tls))
}

/// The socket for that address among those that were `given`, or for its port, or a new one.
fn take_or_bind(given: &mut Vec<TcpListener>, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let at: Vec<Option<SocketAddr>> = given.iter().map(|listener| listener.local_addr().ok()).collect();
    let same = at.iter().position(|at| *at == Some(address));
    let place = same.or_else(|| at.iter().position(|at| at.is_some_and(|at| at.port() == address.port())));
    match place {
        Some(place) => Ok(given.remove(place)),
        None => bind(address),
    }
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| format!("can't listen on {address}"))
}

fn access_log(target: &Path, format: AccessLogFormat) -> AccessLog {
    let format = match format {
        AccessLogFormat::Combined => pando_proxy::LogFormat::Combined,
        AccessLogFormat::Json => pando_proxy::LogFormat::Json,
    };
    let target =
        if target == Path::new("-") { LogTarget::Stdout } else { LogTarget::File(target.to_owned()) };
    AccessLog { format, target }
}
