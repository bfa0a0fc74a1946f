//! Databases and caches that the user runs, and where.
//!
//! What Pando would run itself is checked here, and reported as unsupported elsewhere.

use std::collections::BTreeMap;

use pando_model::app::ServiceSpec;
use pando_model::{RoleName, ServiceName};

use crate::decode::Field;
use crate::diagnostic::Sink;
use crate::raw::{self, Service, Settings};
use crate::source::Span;

/// Those that the user runs. What is wrong with any is reported, and left out.
pub(super) fn services(settings: &Settings, sink: &mut Sink) -> BTreeMap<ServiceName, ServiceSpec> {
    let mut specs = BTreeMap::new();
    for (name, service) in
        settings.services.value().map(|services| services.entries.as_slice()).unwrap_or_default()
    {
        check_owner(name.value.as_str(), &service.value, sink);
        if let Some(url) = service.value.url.get() {
            check_url(&url.value.0, url.span, sink);
        }
        if let Some(spec) = spec(&service.value).filter(|_| !is_managed(&service.value)) {
            specs.insert(name.value.clone(), spec);
        }
    }
    specs
}

/// Whether Pando is to run it.
pub(super) fn is_managed(service: &Service) -> bool {
    service.managed.value().is_none_or(|flag| flag.0)
}

fn check_owner(name: &str, service: &Service, sink: &mut Sink) {
    if !is_managed(service) || matches!(service.managed, Field::Wrong(_)) {
        return;
    }
    for (key, word) in [(service.port.key(), "port"), (service.url.key(), "url")] {
        if let Some(key) = key {
            let hint = format!("if you run `{name}` yourself, add `managed: false`");
            sink.error_hint(key, format!("`{word}` is for a service that you run yourself"), hint);
        }
    }
}

fn check_url(url: &raw::Url, span: Span, sink: &mut Sink) {
    match (url.value.key(), url.from.key()) {
        (Some(_), Some(from)) => sink.error(from, "a URL has either a `value` or `from`"),
        (None, None) => {
            sink.error_hint(span, "this is no URL", "write it as text, or `{from: {secret: NAME}}`")
        }
        _ => {}
    }
    let service = url.from.value().and_then(|from| from.service.key());
    if let Some(service) = service {
        sink.error_hint(service, "a service's URL can't come from a service", "write `{secret: NAME}`");
    }
}

/// `None` when a key that it needs is wrong, which is reported.
fn spec(service: &Service) -> Option<ServiceSpec> {
    let kind = *service.r#type.value()?;
    let role = match service.role.value() {
        Some(role) => role.clone(),
        // These are DNS labels, so this always is one.
        None => RoleName::new(kind.usual_role()).ok()?,
    };
    let port = service.port.value().map_or(kind.usual_port(), |port| port.0);
    let url = service.url.value().and_then(|url| url.0.value.value()).map(|url| url.0.clone());
    Some(ServiceSpec { kind: kind.word().to_owned(), role, port, url })
}
