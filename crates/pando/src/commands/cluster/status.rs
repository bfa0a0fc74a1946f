//! `pando cluster status`: the whole cluster, whatever lies around.

use pando_api::v1::cluster::ClusterSettings;
use pando_api::v1::status::{ClusterStatus, ServerState};
use serde_json::json;

use crate::commands::status::of_cluster;
use crate::context::Context;
use crate::printer::{Paint, Style};
use crate::words::counted;

pub(super) async fn run(context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let (status, settings) = tokio::try_join!(client.status(), client.settings())?;
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&json!({ "url": client.url(), "status": status, "settings": settings }));
    }
    let paint = printer.paint();
    let mut lines = vec![head(client.url(), &status, paint), settings_line(&settings), String::new()];
    lines.extend(of_cluster(&status, paint));
    printer.lines(&lines)
}

/// `https://10.0.0.1:7420 runs pando 0.1.0: 3 servers, 1 not alive`
fn head(url: &str, status: &ClusterStatus, paint: Paint) -> String {
    let silent = status.servers.iter().filter(|server| server.state != ServerState::Alive).count();
    let silent = match silent {
        0 => String::new(),
        count => format!(", {}", paint.with(Style::Bad, &format!("{count} not alive"))),
    };
    let servers = counted(status.servers.len() as u64, "server");
    format!("{} runs pando {}: {servers}{silent}", paint.with(Style::Bold, url), status.version)
}

fn settings_line(settings: &ClusterSettings) -> String {
    let firewall = if settings.firewall.enabled { "on" } else { "off" };
    let direct = if settings.lockdown { "closed" } else { "open" };
    format!("firewall {firewall}, direct access {direct}")
}
