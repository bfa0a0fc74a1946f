//! Servers as lines: all of them, or one with everything that is known of it.

use pando_api::v1::balancers::EntryRole;
use pando_api::v1::servers::ServerDetail;
use pando_api::v1::status::{ServerState, ServerStatus};
use pando_model::name::ServerName;
use pando_model::resources::{Bytes, Cores};
use pando_model::server::Standing;

use crate::commands::status::replica_word;
use crate::context::Context;
use crate::printer::{Paint, Style};
use crate::table::{Cell, Table};
use crate::words::{age, harmless, listed, now};

pub(super) async fn list(context: &Context) -> anyhow::Result<()> {
    let servers = context.client()?.servers().await?;
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&servers);
    }
    printer.lines(&table(&servers.servers, printer.paint()))
}

pub(super) async fn one(name: &ServerName, context: &Context) -> anyhow::Result<()> {
    print(&context.client()?.server(name).await?, context)
}

/// A server as it is now.
pub(super) fn print(server: &ServerDetail, context: &Context) -> anyhow::Result<()> {
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(server);
    }
    printer.lines(&detail(server, printer.paint()))
}

/// A line for each server.
pub(crate) fn table(servers: &[ServerStatus], paint: Paint) -> Vec<String> {
    let mut table =
        Table::new(&["SERVER", "STATE", "ROLES", "ADDRESS", "PUBLIC", "REPLICAS", "SET ASIDE", "LABELS"]);
    for server in servers {
        table.row(vec![
            (&server.name).into(),
            state_cell(server),
            listed(&server.roles).into(),
            server.private_address.into(),
            server.public_address.map(|address| address.to_string()).unwrap_or_default().into(),
            server.instances.into(),
            aside(server).into(),
            labels(server).into(),
        ]);
    }
    table.lines(paint)
}

fn state_cell(server: &ServerStatus) -> Cell {
    let (word, style) = server_word(server.state);
    match standing_word(server.standing) {
        None => Cell::styled(word, style),
        Some(standing) if server.state == ServerState::Alive => Cell::styled(standing, Style::Warn),
        Some(standing) => Cell::styled(format!("{word}, {standing}"), style),
    }
}

pub(crate) fn server_word(state: ServerState) -> (&'static str, Style) {
    match state {
        ServerState::Alive => ("alive", Style::Good),
        ServerState::Suspect => ("suspect", Style::Warn),
        ServerState::Lost => ("lost", Style::Bad),
        ServerState::Unknown => ("not heard yet", Style::Dim),
    }
}

/// `None`: as servers usually are.
pub(crate) fn standing_word(standing: Standing) -> Option<&'static str> {
    match standing {
        Standing::Active => None,
        Standing::Draining => Some("draining"),
        Standing::Leaving => Some("leaving"),
    }
}

/// `512 MB of 4 GB, 0.5 of 2 cores`
fn aside(server: &ServerStatus) -> String {
    let (aside, all) = (server.reserved, server.capacity);
    format!(
        "{} of {}, {} of {} cores",
        Bytes(aside.memory_bytes),
        Bytes(all.memory_bytes),
        Cores(u64::from(aside.cpu_millis)),
        Cores(u64::from(all.cpu_millis))
    )
}

fn labels(server: &ServerStatus) -> String {
    let labels = server.labels.iter().map(|(key, value)| format!("{key}={value}"));
    labels.collect::<Vec<_>>().join(" ")
}

fn detail(server: &ServerDetail, paint: Paint) -> Vec<String> {
    let mut lines = vec![head(&server.status, paint)];
    for (name, value) in facts(server) {
        lines.push(format!("  {}{value}", paint.with(Style::Dim, &format!("{name:<13}"))));
    }
    if !server.replicas.is_empty() {
        lines.push(String::new());
        lines.extend(replicas(server, paint));
    }
    let told = server.waiting_on.iter().map(|line| harmless(line));
    let problems = server.firewall.iter().flat_map(|firewall| &firewall.problems);
    let warned = server.warnings.iter().chain(problems).map(|line| paint.with(Style::Warn, &harmless(line)));
    let told: Vec<String> = told.chain(warned).collect();
    if !told.is_empty() {
        lines.push(String::new());
        lines.extend(told);
    }
    lines
}

/// `app-2 is alive, draining`
fn head(server: &ServerStatus, paint: Paint) -> String {
    let (word, style) = server_word(server.state);
    let standing = standing_word(server.standing);
    let standing = standing.map(|word| format!(", {}", paint.with(Style::Warn, word))).unwrap_or_default();
    let name = paint.with(Style::Bold, server.name.as_str());
    let heard = server.heard_at.filter(|_| server.state != ServerState::Alive);
    let heard = heard.map(|at| format!(", last heard {} ago", age(at, now()))).unwrap_or_default();
    format!("{name} is {}{standing}{heard}", paint.with(style, word))
}

fn facts(server: &ServerDetail) -> Vec<(&'static str, String)> {
    let status = &server.status;
    let mut facts =
        vec![("roles", if status.roles.is_empty() { "none".to_owned() } else { listed(&status.roles) })];
    let private = format!("{} (private)", status.private_address);
    let public = status.public_address.map(|address| format!(", {address} (public)")).unwrap_or_default();
    facts.push(("addresses", format!("{private}{public}")));
    if !status.labels.is_empty() {
        facts.push(("labels", labels(status)));
    }
    facts.push(("set aside", aside(status)));
    let entry = match server.entry {
        None => "no: it takes no requests from outside",
        Some(EntryRole::Balancer) => "as a load balancer: to all replicas alike",
        Some(EntryRole::Direct) => "directly: to its own replicas while they can serve",
    };
    facts.push(("entry point", entry.to_owned()));
    if let Some(firewall) = &server.firewall {
        let word = if firewall.in_force { "in force" } else { "not in force" };
        facts.push(("firewall", word.to_owned()));
    }
    facts.push(("joined", server.joined_at.to_string()));
    if let Some(at) = server.certificate_expires_at {
        facts.push(("certificate", format!("until {at}, unless it is renewed")));
    }
    facts
}

fn replicas(server: &ServerDetail, paint: Paint) -> Vec<String> {
    let mut table = Table::new(&["APP", "REPLICA", "RELEASE", "STATE", "PORT", "OPEN"]);
    for replica in &server.replicas {
        let (word, style) = replica_word(replica.state);
        let open = if replica.in_flight == 0 { String::new() } else { replica.in_flight.to_string() };
        table.row(vec![
            (&replica.app).into(),
            (&replica.replica).into(),
            replica.release.into(),
            Cell::styled(word, style),
            replica.port.into(),
            open.into(),
        ]);
    }
    table.lines(paint)
}
