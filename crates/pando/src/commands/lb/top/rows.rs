//! Two looks at the endpoints, as a table of what happened in between.

use std::collections::BTreeMap;

use pando_api::v1::traffic::{EndpointSeen, EndpointTraffic, EndpointView};
use serde::Serialize;

use crate::printer::{Paint, Style};
use crate::table::{Cell, Table};
use crate::words::{harmless, thousands};

/// One replica.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) pool: String,
    pub(super) replica: String,
    pub(super) address: String,
    pub(super) state: State,
    /// Why, and for whom, it is not in rotation.
    pub(super) reasons: Vec<String>,
    /// Each second.
    pub(super) requests: f64,
    /// Of its answers between the looks, those with 4xx, 5xx, and requests without an answer, each second.
    pub(super) client_errors: f64,
    pub(super) server_errors: f64,
    pub(super) failed: f64,
    pub(super) in_flight: u64,
    /// The highest of what load balancers measure, in milliseconds.
    pub(super) answers_in_ms: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Everywhere.
    InRotation,
    /// Somewhere, and somewhere not.
    Partly,
    Ejected,
    /// Its probe does not pass.
    Out,
    Draining,
    /// No load balancer has told of it.
    Unknown,
}

pub(super) fn rows(before: &EndpointTraffic, now: &EndpointTraffic) -> Vec<Row> {
    let old: BTreeMap<_, _> =
        before.endpoints.iter().map(|view| ((&view.pool, &view.address), view)).collect();
    let seconds = seconds_between(before, now);
    now.endpoints
        .iter()
        .map(|view| row(old.get(&(&view.pool, &view.address)).copied(), view, seconds))
        .collect()
}

fn seconds_between(before: &EndpointTraffic, now: &EndpointTraffic) -> f64 {
    let millis = now.now.since(before.now).0.clamp(1, 3_600_000);
    f64::from(u32::try_from(millis).unwrap_or(u32::MAX)) / 1000.0
}

fn row(before: Option<&EndpointView>, now: &EndpointView, seconds: f64) -> Row {
    let rate = |count: fn(&EndpointSeen) -> u64| {
        let difference = now.seen.iter().map(|seen| {
            let same = |old: &&EndpointSeen| old.server == seen.server && old.boot == seen.boot;
            let old = before.and_then(|before| before.seen.iter().find(same)).map_or_else(
                // Who wasn't told of before has counted since some other time.
                || count(seen),
                count,
            );
            count(seen).saturating_sub(old)
        });
        f64::from(u32::try_from(difference.sum::<u64>()).unwrap_or(u32::MAX)) / seconds
    };
    let slowest = now.seen.iter().filter_map(|seen| seen.stats.rtt_micros).max();
    Row {
        pool: now.pool.clone(),
        replica: now.name.clone(),
        address: now.address.to_string(),
        state: state(now),
        reasons: reasons(now),
        requests: rate(|seen| seen.stats.by_class.iter().sum()),
        client_errors: rate(|seen| seen.stats.by_class[3]),
        server_errors: rate(|seen| seen.stats.by_class[4]),
        failed: rate(|seen| seen.stats.failed),
        in_flight: now.seen.iter().map(|seen| seen.in_flight).sum(),
        answers_in_ms: slowest.map(|micros| f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0),
    }
}

fn state(view: &EndpointView) -> State {
    let gets = |seen: &EndpointSeen| seen.in_rotation && seen.ejected.is_none();
    let (some, all) = (view.seen.iter().any(gets), view.seen.iter().all(gets));
    match (view.draining, view.seen.is_empty()) {
        (true, _) => State::Draining,
        (false, true) => State::Unknown,
        (false, false) if all => State::InRotation,
        (false, false) if some => State::Partly,
        (false, false) if view.seen.iter().any(|seen| seen.ejected.is_some()) => State::Ejected,
        (false, false) => State::Out,
    }
}

fn reasons(view: &EndpointView) -> Vec<String> {
    let one = |seen: &EndpointSeen| match (&seen.ejected, seen.in_rotation) {
        (Some(ejected), _) => Some(format!("{}: {}", seen.server, ejected.text)),
        (None, false) if !view.draining => {
            let why = seen.why_out.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            Some(format!("{}: its check does not pass{why}", seen.server))
        }
        (None, _) => None,
    };
    view.seen.iter().filter_map(one).collect()
}

pub(super) fn lines(rows: &[Row], paint: Paint) -> Vec<String> {
    if rows.is_empty() {
        return vec!["no replica is to get requests".to_owned()];
    }
    let mut table = Table::new(&[
        "POOL",
        "REPLICA",
        "STATE",
        "REQ/S",
        "4XX/S",
        "5XX/S",
        "FAILED/S",
        "OPEN",
        "ANSWERS IN",
        "WHY",
    ]);
    for row in rows {
        let (word, style) = word(row.state);
        table.row(vec![
            (&row.pool).into(),
            (&row.replica).into(),
            Cell::styled(word, style),
            rate(row.requests).into(),
            rate(row.client_errors).into(),
            bad(row.server_errors),
            bad(row.failed),
            if row.in_flight == 0 { String::new() } else { thousands(row.in_flight) }.into(),
            row.answers_in_ms.map(|millis| format!("{millis:.1} ms")).unwrap_or_default().into(),
            harmless(&row.reasons.join("; ")).into(),
        ]);
    }
    table.lines(paint)
}

fn word(state: State) -> (&'static str, Style) {
    match state {
        State::InRotation => ("in rotation", Style::Good),
        State::Partly => ("in part", Style::Warn),
        State::Ejected => ("ejected", Style::Bad),
        State::Out => ("out", Style::Bad),
        State::Draining => ("draining", Style::Warn),
        State::Unknown => ("not told of", Style::Warn),
    }
}

/// Nothing for none, so that the eye finds what there is.
fn rate(rate: f64) -> String {
    match rate {
        0.0 => String::new(),
        few if few < 10.0 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    }
}

fn bad(count: f64) -> Cell {
    if count == 0.0 { String::new().into() } else { Cell::styled(rate(count), Style::Bad) }
}

#[cfg(test)]
mod tests;
