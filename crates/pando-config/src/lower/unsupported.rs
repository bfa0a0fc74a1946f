//! What a valid file may ask for and this version does not run yet.
//!
//! An error means that a deploy would silently do something else than asked; a
//! warning, that something is merely not used.

use super::services;
use crate::decode::Field;
use crate::diagnostic::{Problems, Sink};
use crate::raw::{self, EnvList, Settings};
use crate::source::Span;

/// The keys and values that it is about, for the reference.
pub(crate) const NOT_YET: &str = "services that Pando is to run (`managed: true`), `schedules`, `autoscale`, values from a \
     secret (`env[].from.secret`, `services.NAME.url.from`), and the strategies `blue_green` and `canary`";

pub(super) fn find(settings: &Settings, mut sink: Sink) -> Problems {
    runs(settings, &mut sink);
    registry(settings, &mut sink);
    rollout(settings, &mut sink);
    surroundings(settings, &mut sink);
    let lists = settings.processes.value().map(|processes| processes.entries.as_slice()).unwrap_or_default();
    let own = lists.iter().map(|(_, process)| &process.value.env);
    for list in std::iter::once(&settings.env).chain(own) {
        variables(list, &mut sink);
    }
    sink.into_problems()
}

fn runs(settings: &Settings, sink: &mut Sink) {
    let any = settings.volumes.value().is_some_and(|list| !list.0.is_empty());
    let plain = settings.image.is_absent() && settings.build.is_absent();
    if let Some(key) = settings.volumes.key().filter(|_| any && plain) {
        let hint = "a plain process can write to an absolute path of its server, which only that server has";
        sink.error_hint(key, "`volumes` are for containers, and this app has no `image` or `build`", hint);
    }
}

/// The cluster signs in by itself, with what it was given once: a file that every deploy carries along is no place for that.
fn registry(settings: &Settings, sink: &mut Sink) {
    let Some(registry) = settings.image.value().and_then(|image| image.0.registry.value()) else { return };
    let (server, username) = (registry.0.server.value(), &registry.0.username);
    let (Some(server), Some(key)) = (server, username.key().or(registry.0.password.key())) else { return };
    let user = username.value().map_or("NAME", |name| name.0.as_str());
    let hint =
        format!("give them to the cluster once: `pando registry login {} --username {user}`", server.0);
    sink.warn(key, "a registry's credentials are not taken from this file", hint);
}

fn rollout(settings: &Settings, sink: &mut Sink) {
    use raw::Strategy;
    if let Some(at) = settings.deployment_strategy.get()
        && matches!(at.value, Strategy::BlueGreen | Strategy::Canary)
    {
        not_yet(at.span, &format!("deploy by `{}`", at.value.word()), "use `rolling` or `replace`", sink);
    }
}

fn surroundings(settings: &Settings, sink: &mut Sink) {
    for (name, service) in
        settings.services.value().map(|services| services.entries.as_slice()).unwrap_or_default()
    {
        if services::is_managed(&service.value) {
            let hint = "run it yourself on a server with its role, and add `managed: false`";
            not_yet(name.span, "run services", hint, sink);
        } else if let Some(key) = service.value.url.value().and_then(|url| url.0.from.key()) {
            let hint = "write the URL itself, with `{host}` and `{port}` for where the service is";
            not_yet(key, "take URLs from secrets", hint, sink);
        }
    }
    let any = settings.schedules.value().is_some_and(|list| !list.0.is_empty());
    if let Some(key) = settings.schedules.key().filter(|_| any) {
        not_yet(key, "run schedules", "until then, cron on one server can call `pando run`", sink);
    }
    let any = settings.autoscale.value().is_some_and(|rules| !rules.entries.is_empty());
    if let Some(key) = settings.autoscale.key().filter(|_| any) {
        not_yet(key, "scale by itself", "use `pando scale`", sink);
    }
}

fn variables(list: &Field<EnvList>, sink: &mut Sink) {
    for entry in list.value().map(EnvList::entries).unwrap_or_default() {
        let secret = entry.value.from.value().and_then(|from| from.secret.key());
        if let Some(key) = secret {
            let hint = "give it a `value`, or let the app read it from a file on its server";
            not_yet(key, "take values from secrets", hint, sink);
        }
    }
}

fn not_yet(span: Span, what: &str, hint: &str, sink: &mut Sink) {
    sink.error_hint(span, format!("this version of Pando does not {what} yet"), hint);
}
