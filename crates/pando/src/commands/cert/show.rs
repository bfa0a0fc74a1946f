//! Which certificates there are, whom they serve, and who has none.

use pando_api::v1::certificates::{CertificateInfo, CertificateList, CertificateSource};
use pando_model::time::Timestamp;

use crate::context::Context;
use crate::printer::{Paint, Style};
use crate::table::{Cell, Table};
use crate::words::{counted, harmless, listed};

/// Days from which on somebody should act.
const SOON: i64 = 14;

pub(super) async fn list(context: &Context) -> anyhow::Result<()> {
    let list = context.client()?.certificates().await?;
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&list);
    }
    printer.lines(&lines(&list, printer.paint()))
}

fn lines(list: &CertificateList, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    if list.certificates.is_empty() {
        lines.push("no certificates; `pando cert import` brings one".to_owned());
    } else {
        lines.extend(table(list).lines(paint));
    }
    if !list.missing.is_empty() {
        lines.push(String::new());
    }
    lines.extend(list.missing.iter().map(|owner| {
        let text = format!("{} has no certificate", owner.domain);
        format!("{} (app {})", paint.with(Style::Warn, &text), owner.app)
    }));
    lines
}

fn table(list: &CertificateList) -> Table {
    let mut table = Table::new(&["NAME", "DOMAINS", "ISSUER", "KEY", "EXPIRES", "LEFT", "APPS", "SOURCE"]);
    for one in &list.certificates {
        let source = match one.source {
            CertificateSource::Imported => "",
            CertificateSource::Automatic => "automatic",
        };
        table.row(vec![
            (&one.name).into(),
            listed(&one.domains).into(),
            harmless(&one.issuer).into(),
            (&one.key).into(),
            day(one.not_after).into(),
            left(one, list.now),
            listed(&one.apps).into(),
            source.into(),
        ]);
    }
    table
}

fn left(one: &CertificateInfo, now: Timestamp) -> Cell {
    match one.days_left(now) {
        days if one.not_after < now => {
            Cell::styled(format!("expired {} ago", counted(days.unsigned_abs(), "day")), Style::Bad)
        }
        days if days < SOON => Cell::styled(counted(days.unsigned_abs(), "day"), Style::Warn),
        days => Cell::styled(counted(days.unsigned_abs(), "day"), Style::Plain),
    }
}

/// `2027-02-01`.
pub(super) fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}
