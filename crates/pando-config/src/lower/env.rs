//! Environment variables: values, and where they come from.

use std::collections::BTreeMap;

use pando_model::EnvValue;

use crate::decode::{At, Field, nearest};
use crate::diagnostic::Sink;
use crate::raw::{EnvEntry, EnvList, From, Settings};

/// Variables that are wrong are reported and left out.
pub(super) fn variables(
    list: &Field<EnvList>,
    settings: &Settings,
    sink: &mut Sink,
) -> BTreeMap<String, EnvValue> {
    let mut variables = BTreeMap::new();
    for entry in list.value().map(EnvList::entries).unwrap_or_default() {
        let Some(name) = entry.value.name.get() else { continue };
        check_name(name.span, &name.value.0, sink);
        if let Some(value) = value(entry, settings, sink) {
            variables.insert(name.value.0.clone(), value);
        }
    }
    variables
}

/// What Pando tells a replica itself can't be told otherwise.
fn check_name(span: crate::source::Span, name: &str, sink: &mut Sink) {
    if name == "PORT" {
        let hint = "a plain process listens on the `PORT` that it is given, a container on `port:`";
        sink.error_hint(span, "`PORT` is set by Pando, for each replica", hint);
    } else if name.starts_with("PANDO_") {
        sink.error_hint(
            span,
            format!("`{name}` starts with `PANDO_`"),
            "such names are Pando's own; choose another",
        );
    }
}

fn value(entry: &At<EnvEntry>, settings: &Settings, sink: &mut Sink) -> Option<EnvValue> {
    match (&entry.value.value, &entry.value.from) {
        (Field::Given(value), Field::Absent) => Some(EnvValue::Value(value.value.0.clone())),
        (Field::Absent, Field::Given(from)) => source(from, settings, sink),
        (Field::Absent, Field::Absent) => {
            let hint = "give it a `value`, which may be \"\", or say where it comes `from`";
            sink.error_hint(entry.span, "this variable has no value", hint);
            None
        }
        (value, from) => {
            if let (Some(_), Some(from)) = (value.key(), from.key()) {
                sink.error(from, "a variable has either a `value` or `from`");
            }
            None
        }
    }
}

fn source(from: &At<From>, settings: &Settings, sink: &mut Sink) -> Option<EnvValue> {
    match (&from.value.secret, &from.value.service) {
        (Field::Given(secret), Field::Absent) => Some(EnvValue::Secret(secret.value.0.clone())),
        (Field::Absent, Field::Given(service)) => {
            let services =
                settings.services.value().map(|services| services.entries.as_slice()).unwrap_or_default();
            let known = || services.iter().map(|(name, _)| name.value.as_str());
            if known().any(|name| name == service.value.as_str()) {
                return Some(EnvValue::Service(service.value.clone()));
            }
            let incomplete = settings.services.value().is_some_and(|services| services.incomplete);
            if !matches!(settings.services, Field::Wrong(_)) && !incomplete {
                let hint = nearest(service.value.as_str(), known()).map_or_else(
                    || "name it below `services`".to_owned(),
                    |name| format!("did you mean `{name}`?"),
                );
                sink.error_hint(service.span, format!("there is no service `{}`", service.value), hint);
            }
            None
        }
        (Field::Absent, Field::Absent) => {
            sink.error_hint(
                from.span,
                "this does not say where the value comes from",
                "`{secret: NAME}` or `{service: NAME}`",
            );
            None
        }
        (secret, service) => {
            if let (Some(_), Some(service)) = (secret.key(), service.key()) {
                sink.error(service, "a value comes either from a `secret` or from a `service`");
            }
            None
        }
    }
}
