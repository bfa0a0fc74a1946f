//! `pando lb status`: entry points and domains as tables.

use pando_api::v1::balancers::{BalancerList, EntryPointStatus, EntryRole};
use serde_json::json;

use super::dns::{self, Pointer, PointsAt};
use crate::commands::server::server_word;
use crate::commands::status::interludes;
use crate::context::Context;
use crate::printer::{Paint, Style};
use crate::table::{Cell, Table};
use crate::words::{counted, harmless, listed, thousands};

pub(super) async fn status(context: &Context) -> anyhow::Result<()> {
    let list = context.client()?.balancers().await?;
    let pointers = dns::ask(&list).await;
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&as_json(&list, &pointers));
    }
    let mut lines = lines(&list, &pointers, printer.paint());
    // The list itself is what was asked for; a token that may see it may see these, too.
    let apps = context.client()?.apps().await.map(|list| list.apps).unwrap_or_default();
    lines.extend(interludes(&apps).map(|line| printer.paint().with(Style::Warn, &line)));
    printer.lines(&lines)
}

/// The API's list, with each domain's place in DNS.
pub(super) fn as_json(list: &BalancerList, pointers: &[Pointer]) -> serde_json::Value {
    json!({ "lockdown": list.lockdown, "entry_points": list.entry_points, "domains": pointers, "warnings": list.warnings })
}

pub(super) fn lines(list: &BalancerList, pointers: &[Pointer], paint: Paint) -> Vec<String> {
    let mut lines = if list.entry_points.is_empty() {
        vec![paint.with(Style::Bad, "no server takes requests from outside")]
    } else {
        entry_points(&list.entry_points, paint)
    };
    lines.push(String::new());
    if pointers.is_empty() {
        lines.push("no app has a domain".to_owned());
    } else {
        lines.extend(domains(pointers, paint));
    }
    lines.push(String::new());
    lines.push(access(list).to_owned());
    let warnings = refusals(list).chain(list.warnings.iter().cloned());
    lines.extend(warnings.map(|line| paint.with(Style::Warn, &harmless(&line))));
    lines
}

fn access(list: &BalancerList) -> &'static str {
    let balances = list.entry_points.iter().any(|entry| entry.role == EntryRole::Balancer);
    match (list.lockdown, balances) {
        (true, _) => "direct access is closed: only load balancers take requests from outside",
        (false, true) => "direct access is open: web servers answer beside the load balancers",
        (false, false) => {
            "web servers answer directly; `pando server add HOST --role lb` adds a load balancer"
        }
    }
}

fn refusals(list: &BalancerList) -> impl Iterator<Item = String> {
    let refused = |entry: &EntryPointStatus| {
        let name = entry.name.clone();
        let reasons = entry.proxy.refused.clone().into_iter();
        reasons
            .map(move |reason| format!("{name} would not take the newest table: {reason}"))
            .collect::<Vec<_>>()
    };
    list.entry_points.iter().flat_map(refused)
}

fn entry_points(entries: &[EntryPointStatus], paint: Paint) -> Vec<String> {
    let mut table = Table::new(&[
        "ENTRY POINT",
        "AS",
        "STATE",
        "TABLE",
        "IN ROTATION",
        "LAST MIN",
        "10 MIN",
        "TOTAL",
        "OPEN",
        "ADDRESS",
    ]);
    for entry in entries {
        let role = match entry.role {
            EntryRole::Balancer => "load balancer",
            EntryRole::Direct => "web server",
        };
        let (word, style) = state(entry);
        table.row(vec![
            (&entry.name).into(),
            role.into(),
            Cell::styled(word, style),
            table_word(entry).into(),
            format!("{} of {}", entry.in_rotation, entry.endpoints).into(),
            thousands(entry.requests.last_minute).into(),
            thousands(entry.requests.last_ten_minutes).into(),
            thousands(entry.requests.total).into(),
            if entry.in_flight == 0 { String::new() } else { thousands(entry.in_flight) }.into(),
            entry.public_address.unwrap_or(entry.private_address).into(),
        ]);
    }
    table.lines(paint)
}

fn state(entry: &EntryPointStatus) -> (&'static str, Style) {
    let (word, style) = server_word(entry.state);
    if word == "alive" && !entry.proxy.alive { ("does not balance", Style::Bad) } else { (word, style) }
}

fn table_word(entry: &EntryPointStatus) -> &'static str {
    match (entry.proxy.acknowledged, entry.proxy.published) {
        (_, None) => "none yet",
        (acknowledged, published) if acknowledged >= published => match entry.proxy.older_secrets {
            true => "newest, older certificates",
            false => "newest",
        },
        (None, _) => "none",
        _ => "older",
    }
}

fn domains(pointers: &[Pointer], paint: Paint) -> Vec<String> {
    let mut table = Table::new(&["DOMAIN", "APP", "POINTS AT"]);
    for pointer in pointers {
        let (text, style) = place(pointer);
        table.row(vec![(&pointer.domain).into(), (&pointer.app).into(), Cell::styled(text, style)]);
    }
    table.lines(paint)
}

/// Where a domain points, for people.
pub(super) fn place(pointer: &Pointer) -> (String, Style) {
    let (balancers, direct, others) =
        (listed(&pointer.balancers), listed(&pointer.direct), listed(&pointer.others));
    let elsewhere: Vec<String> = [direct, others].into_iter().filter(|names| !names.is_empty()).collect();
    let elsewhere = listed(elsewhere);
    match pointer.points_at {
        PointsAt::Balancers => (format!("the load balancer{} {balancers}", plural(pointer)), Style::Good),
        PointsAt::Both => (format!("both {balancers} and, still, {elsewhere}"), Style::Warn),
        PointsAt::Direct => (format!("{elsewhere} directly"), Style::Warn),
        PointsAt::Elsewhere => {
            let what = counted(pointer.others.len() as u64, "address");
            (format!("{elsewhere}: {what} of no entry point here"), Style::Bad)
        }
        PointsAt::Nowhere => {
            let why =
                pointer.problem.as_deref().map(|why| format!(": {}", harmless(why))).unwrap_or_default();
            (format!("nowhere{why}"), Style::Bad)
        }
    }
}

fn plural(pointer: &Pointer) -> &'static str {
    if pointer.balancers.len() > 1 { "s" } else { "" }
}
