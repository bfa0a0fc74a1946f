//! Who gets in, asked before anything else is done: maintenance, networks, rate limits, preflights.

use std::sync::Arc;

use pando_routing::balance::hash::SecretKey;
use pando_routing::rule::Asks;

use super::asking::Answered;
use super::cors::{self, Fields};
use super::limit;
use super::live::Reason;
use super::route::Route;
use super::shown::Shown;
use crate::balance::moment;
use crate::forward::Page;

/// A request that goes no further.
#[derive(Debug)]
pub(super) struct Turned {
    /// What of the rule it was, if it was the rule.
    pub(super) reason: Option<Reason>,
    pub(super) how: How,
    pub(super) fields: Fields,
}

/// What the client gets instead.
#[derive(Debug)]
pub(super) enum How {
    Page(Page, Option<Arc<str>>),
    Answer(u16, Vec<u8>),
}

impl Turned {
    pub(super) fn page(reason: Reason, page: Page, fields: Fields) -> Self {
        Self { reason: Some(reason), how: How::Page(page, None), fields }
    }

    /// No fault of the rule's.
    pub(super) fn refused(page: Page) -> Self {
        Self { reason: None, how: How::Page(page, None), fields: Fields::new() }
    }

    /// What variables brought into a path leads out of it.
    pub(super) fn climbs() -> Self {
        Self::refused(Page::BadRequest("The path leads out of where it may."))
    }

    /// Another service's answer.
    pub(super) fn theirs(answer: Answered) -> Self {
        let Answered { status, fields, body } = answer;
        let name = |name: Vec<u8>| String::from_utf8(name).ok().map(|name| name.to_ascii_lowercase().into());
        let fields = fields.into_iter().filter_map(|(known, value)| Some((name(known)?, value))).collect();
        Self { reason: Some(Reason::Forbidden), how: How::Answer(status, body), fields }
    }
}

/// # Errors
/// Why it goes no further. Else what its answer is to carry.
pub(super) fn check(route: &Route, shown: Shown<'_>, key: &SecretKey) -> Result<Fields, Turned> {
    maintenance(route, shown)?;
    networks(route, shown)?;
    let mut fields = limits(route, shown, key)?;
    if let Some(cors) = &route.filters.cors {
        if let Some(answer) = cors::preflight(cors, shown) {
            return Err(Turned {
                reason: Some(Reason::Preflight),
                how: How::Answer(204, Vec::new()),
                fields: answer,
            });
        }
        fields.extend(cors::fields(cors, shown));
    }
    Ok(fields)
}

/// It was held for too long, or too many are.
pub(super) fn late(route: &Route) -> Turned {
    let hold = route.filters.pause.as_ref().map_or(0, |pause| pause.hold_millis);
    let seconds = hold.div_ceil(1000).clamp(1, 30);
    Turned::page(Reason::Paused, Page::Paused, vec![("retry-after".into(), seconds.to_string().into_bytes())])
}

pub(super) fn maintenance(route: &Route, shown: Shown<'_>) -> Result<(), Turned> {
    let Some(maintenance) = &route.filters.maintenance else { return Ok(()) };
    if route.exempt.covers(shown.address()) {
        return Ok(());
    }
    let fields = vec![("retry-after".into(), maintenance.retry_after_seconds.to_string().into_bytes())];
    let how = How::Page(Page::Maintenance, maintenance.message.clone());
    Err(Turned { reason: Some(Reason::Maintenance), how, fields })
}

fn networks(route: &Route, shown: Shown<'_>) -> Result<(), Turned> {
    let address = shown.address();
    let allowed = route.allow.is_empty() || route.allow.covers(address);
    match allowed && !route.deny.covers(address) {
        true => Ok(()),
        false => Err(Turned::page(Reason::Denied, Page::Denied, Fields::new())),
    }
}

fn limits(route: &Route, shown: Shown<'_>, key: &SecretKey) -> Result<Fields, Turned> {
    if route.limits.is_empty() {
        return Ok(Fields::new());
    }
    let verdict = limit::check(route.limits.iter().map(|limit| &**limit), &shown, key, moment::now());
    let mut fields: Fields = vec![
        ("ratelimit-policy".into(), verdict.policy.into_bytes()),
        ("ratelimit".into(), verdict.left.into_bytes()),
    ];
    match verdict.wait {
        None => Ok(fields),
        Some(seconds) => {
            fields.push(("retry-after".into(), seconds.to_string().into_bytes()));
            Err(Turned::page(Reason::Limited, Page::TooMany, fields))
        }
    }
}
