//! The domains that an app answers to.

use std::collections::BTreeMap;

use pando_model::Millis;
use pando_model::app::{ClientAuthSpec, DomainSpec, HstsSpec, HttpsSpec};

use super::{Draft, Surroundings, authorities, process};
use crate::diagnostic::Sink;
use crate::raw::{Domain, Hsts, Settings};
use crate::source::Span;
use crate::value::Host;

/// What browsers want of those that they are to be built with.
const YEAR: Millis = Millis::from_secs(365 * 24 * 3600);

pub(super) fn domains(
    settings: &Settings,
    drafts: &[Draft],
    around: &Surroundings<'_>,
    sink: &mut Sink,
) -> Vec<DomainSpec> {
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
        let https = https(&domain.value.0, around, sink);
        domains.push(DomainSpec { domain: name.value.0.clone(), aliases, https });
    }
    let routed = drafts.iter().any(|draft| draft.routed);
    if !list.value.0.is_empty() && process::all_known(settings, drafts) && !routed {
        let hint = "requests go to the process `web`, and to those that `routes` name";
        sink.error_hint(list.key, "no process gets the requests to these domains", hint);
    }
    domains
}

fn https(domain: &Domain, around: &Surroundings<'_>, sink: &mut Sink) -> HttpsSpec {
    let Some(given) = domain.https.value() else { return HttpsSpec::default() };
    let redirect = given.redirect.value().is_none_or(|flag| flag.0);
    let client_auth = given.client_auth.value().and_then(|asked| {
        let optional = asked.optional.value().is_some_and(|flag| flag.0);
        Some(ClientAuthSpec { ca_certificates: authorities::read(&asked.ca, around, sink)?, optional })
    });
    HttpsSpec { redirect, hsts: given.hsts.value().and_then(|hsts| hsts_of(hsts, sink)), client_auth }
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
