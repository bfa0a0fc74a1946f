//! How requests find the processes: domains, routes, balancing.

use std::collections::{BTreeMap, BTreeSet};

use pando_model::Millis;
use pando_model::ProcessName;
use pando_model::app::{self, DomainSpec, HstsSpec, HttpsSpec, RouteSpec};

use super::{Draft, process};
use crate::decode::{At, Field, nearest};
use crate::diagnostic::Sink;
use crate::raw::{Algorithm, Domain, Hsts, Route, Settings};
use crate::source::Span;
use crate::value::Host;

/// What browsers want of those that they are to be built with.
const YEAR: Millis = Millis::from_secs(365 * 24 * 3600);

pub(super) fn domains(settings: &Settings, drafts: &[Draft], sink: &mut Sink) -> Vec<DomainSpec> {
    let Some(list) = settings.domains.get() else { return Vec::new() };
    let mut seen = BTreeMap::new();
    let mut domains = Vec::new();
    for domain in &list.value.0 {
        let Some(name) = domain.value.0.domain.get() else { continue };
        once(name.span, &name.value, &mut seen, sink);
        let aliases = domain.value.0.aliases.value().map(|list| list.0.as_slice()).unwrap_or_default();
        for alias in aliases {
            once(alias.span, &alias.value, &mut seen, sink);
        }
        let aliases = aliases.iter().map(|alias| alias.value.0.clone()).collect();
        let https = https(&domain.value.0, sink);
        domains.push(DomainSpec { domain: name.value.0.clone(), aliases, https });
    }
    let routed = drafts.iter().any(|draft| draft.routed);
    if !list.value.0.is_empty() && process::all_known(settings, drafts) && !routed {
        let hint = "requests go to the process `web`, and to those that `routes` name";
        sink.error_hint(list.key, "no process gets the requests to these domains", hint);
    }
    domains
}

fn https(domain: &Domain, sink: &mut Sink) -> HttpsSpec {
    let Some(given) = domain.https.value() else { return HttpsSpec::default() };
    let redirect = given.redirect.value().is_none_or(|flag| flag.0);
    HttpsSpec { redirect, hsts: given.hsts.value().and_then(|hsts| hsts_of(hsts, sink)) }
}

fn hsts_of(given: &Hsts, sink: &mut Sink) -> Option<HstsSpec> {
    let max_age = given.max_age.value()?.0;
    let include_subdomains = given.include_subdomains.value().is_some_and(|flag| flag.0);
    let preload = given.preload.value().is_some_and(|flag| flag.0);
    if let Some(key) = given.preload.key().filter(|_| preload && (!include_subdomains || max_age < YEAR)) {
        let hint = "add `max_age: 365d` and `include_subdomains: true`, and mean it: it can't be taken back for months";
        sink.error_hint(key, "browsers preload only what holds for a year and all subdomains", hint);
    }
    Some(HstsSpec { max_age, include_subdomains, preload })
}

fn once(span: Span, host: &Host, seen: &mut BTreeMap<String, Span>, sink: &mut Sink) {
    if let Some(first) = seen.insert(host.0.clone(), span) {
        let line = sink.file().position(first).line;
        sink.error_hint(
            span,
            format!("the domain `{}` is given twice", host.0),
            format!("it is given on line {line}"),
        );
    }
}

pub(super) fn routes(settings: &Settings, drafts: &[Draft], sink: &mut Sink) -> Vec<RouteSpec> {
    let mut seen = BTreeSet::new();
    let mut routes = Vec::new();
    for route in settings.routes.value().map(|list| list.0.as_slice()).unwrap_or_default() {
        check_process(route, settings, drafts, sink);
        check_host(route, settings, sink);
        let (Some(path), Some(process)) = (route.value.path.get(), route.value.process.value()) else {
            continue;
        };
        if path.value.0.contains('?') {
            sink.error(path.span, "the path of a route has no query");
        }
        let host = route.value.host.value().map(|host| host.0.clone());
        if !seen.insert((host.clone(), path.value.0.trim_end_matches('/').to_owned())) {
            sink.error(path.span, format!("the path `{}` is given twice", path.value.0));
        }
        let strip_prefix = route.value.strip_prefix.value().is_some_and(|flag| flag.0);
        routes.push(RouteSpec { host, path: path.value.0.clone(), process: process.clone(), strip_prefix });
    }
    routes
}

fn check_process(route: &At<Route>, settings: &Settings, drafts: &[Draft], sink: &mut Sink) {
    let Some(process) = route.value.process.get() else { return };
    let unknown = drafts.iter().all(|draft| draft.name != process.value);
    if unknown && process::all_known(settings, drafts) {
        let hint = process_hint(&process.value, drafts);
        sink.error_hint(process.span, format!("there is no process `{}`", process.value), hint);
    }
}

/// What else could have been meant by the name of a process.
pub(super) fn process_hint(typed: &ProcessName, drafts: &[Draft]) -> String {
    let names = || drafts.iter().map(|draft| draft.name.as_str());
    match nearest(typed.as_str(), names()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("the processes are {}", crate::decode::listed(names(), "and")),
    }
}

fn check_host(route: &At<Route>, settings: &Settings, sink: &mut Sink) {
    let Some(host) = route.value.host.get() else { return };
    let domains = settings.domains.value().map(|list| list.0.as_slice()).unwrap_or_default();
    let mut known: Vec<&str> = Vec::new();
    for domain in domains.iter().map(|at| &at.value.0) {
        known.extend(domain.domain.value().map(|name| name.0.as_str()));
        let aliases = domain.aliases.value().map(|list| list.0.as_slice()).unwrap_or_default();
        known.extend(aliases.iter().map(|alias| alias.value.0.as_str()));
    }
    if !known.contains(&host.value.0.as_str()) && !matches!(settings.domains, Field::Wrong(_)) {
        let hint = match nearest(&host.value.0, known) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "a route is for one of `domains`, an alias of one, or, without `host`, for all of them"
                .to_owned(),
        };
        sink.error_hint(host.span, format!("`{}` is not a domain of this app", host.value.0), hint);
    }
}

/// The nearest that this version has; what it has not is reported as unsupported.
pub(super) fn algorithm(settings: &Settings) -> app::Algorithm {
    let given = settings.load_balancing.value().and_then(|balancing| balancing.algorithm.value());
    match given {
        Some(Algorithm::LeastConnections) => app::Algorithm::LeastConnections,
        _ => app::Algorithm::RoundRobin,
    }
}
