//! The domains that an app answers to.

use std::collections::BTreeMap;

use pando_model::app::DomainSpec;

use super::{Draft, process};
use crate::diagnostic::Sink;
use crate::raw::Settings;
use crate::source::Span;
use crate::value::Host;

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
        domains.push(DomainSpec { domain: name.value.0.clone(), aliases });
    }
    let routed = drafts.iter().any(|draft| draft.routed);
    if !list.value.0.is_empty() && process::all_known(settings, drafts) && !routed {
        let hint = "requests go to the process `web`, and to those that `routes` name";
        sink.error_hint(list.key, "no process gets the requests to these domains", hint);
    }
    domains
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
