//! Which requests go where, in the routing table's words, but with names as the app has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_model::app::RouteSpec;
use pando_model::traffic::{Place, faults};
use pando_model::{AppSpec, ProcessName};
use pando_routing::rule::destination::{Scheme, SideCookie};
use pando_routing::rule::{Redirect, Respond, Rewrite, Side, Split, Stick, Test, When};
use pando_routing::{PathMatch, PoolId};

use super::balancing::same_site;
use super::{Draft, Surroundings, filters, process};
use crate::decode::{At, Field, Named, OrRecord, Switch, nearest};
use crate::diagnostic::Sink;
use crate::raw::route as raw;
use crate::raw::{Route, Settings};

pub(super) fn routes(
    settings: &Settings,
    drafts: &[Draft],
    around: &Surroundings<'_>,
    sink: &mut Sink,
) -> Vec<RouteSpec> {
    let list = settings.routes.value().map(|list| list.0.as_slice()).unwrap_or_default();
    list.iter().map(|route| lower(route, settings, drafts, around, sink)).collect()
}

fn lower(
    at: &At<Route>,
    settings: &Settings,
    drafts: &[Draft],
    around: &Surroundings<'_>,
    sink: &mut Sink,
) -> RouteSpec {
    let route = &at.value;
    check_processes(route, settings, drafts, sink);
    check_host(at, settings, sink);
    check_purpose(at, drafts, sink);
    let filters = filters::filters(route, sink);
    RouteSpec {
        name: route.name.value().map(|name| name.0.clone()),
        host: route.host.value().map(|host| host.0.clone()),
        path: path(route, sink),
        when: route.when.value().map(when).unwrap_or_default(),
        process: route.process.value().cloned(),
        split: split(route, sink),
        redirect: route.redirect.get().map(|redirect| self::redirect(redirect, sink)),
        respond: route.respond.value().map(|respond| self::respond(&respond.0)),
        strip_prefix: route.strip_prefix.value().is_some_and(|flag| flag.0),
        filters: (filters != pando_routing::Filters::default()).then(|| Box::new(filters)),
        basic_auth: filters::users(route),
        error_pages: filters::error_pages(route, around, sink),
    }
}

/// Where it leads is said once; where it is not said, something must be done on the way.
fn check_purpose(at: &At<Route>, drafts: &[Draft], sink: &mut Sink) {
    let route = &at.value;
    let keys = [
        ("process", route.process.key()),
        ("split", route.split.key()),
        ("redirect", route.redirect.key()),
        ("respond", route.respond.key()),
    ];
    let given: Vec<_> = keys.into_iter().filter_map(|(name, key)| Some((name, key?))).collect();
    if let [(first, _), (second, key), ..] = given[..] {
        let hint = "a route leads to one place: `process`, `split`, `redirect` or `respond`";
        sink.error_hint(key, format!("`{second}` can't be given together with `{first}`"), hint);
    }
    if !given.is_empty() {
        return;
    }
    if !does_something(route) {
        let hint = "give it a `process`, a `split`, a `redirect` or an answer (`respond`)";
        sink.error_hint(at.span, "this route does not say what becomes of its requests", hint);
    } else if drafts.iter().all(|draft| draft.name != ProcessName::web()) && !drafts.is_empty() {
        let hint = "name the process that gets the requests: `process: …`";
        sink.error_hint(at.span, "this route leads to `web`, and there is no such process", hint);
    }
}

fn does_something(route: &Route) -> bool {
    let keys = [
        route.rewrite.key(),
        route.headers.key(),
        route.allow.key(),
        route.deny.key(),
        route.basic_auth.key(),
        route.forward_auth.key(),
        route.rate_limit.key(),
        route.cors.key(),
        route.compression.key(),
        route.buffering.key(),
        route.error_pages.key(),
        route.mirror.key(),
        route.strip_prefix.key(),
        route.name.key(),
    ];
    keys.iter().any(Option::is_some)
}

fn check_processes(route: &Route, settings: &Settings, drafts: &[Draft], sink: &mut Sink) {
    if !process::all_known(settings, drafts) {
        return;
    }
    for (span, process) in named(route) {
        if drafts.iter().all(|draft| draft.name != *process) {
            let hint = process_hint(process, drafts);
            sink.error_hint(span, format!("there is no process `{process}`"), hint);
        }
    }
}

/// Every process that a route names, wherever, with the place.
pub(super) fn named(route: &Route) -> Vec<(crate::source::Span, &ProcessName)> {
    let sides = route.split.value().map(|split| split.entries.as_slice()).unwrap_or_default();
    let mut named: Vec<_> = sides.iter().map(|(name, _)| (name.span, &name.value)).collect();
    let mirror = route.mirror.value().map(|mirror| &mirror.0.process);
    let asked = route.forward_auth.value().map(|auth| &auth.process);
    let single = [Some(&route.process), mirror, asked].into_iter().flatten();
    named.extend(single.filter_map(Field::get).map(|at| (at.span, &at.value)));
    named
}

/// What else could have been meant by the name of a process.
pub(super) fn process_hint(typed: &ProcessName, drafts: &[Draft]) -> String {
    let names = || drafts.iter().map(|draft| draft.name.as_str());
    match nearest(typed.as_str(), names()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("the processes are {}", crate::decode::listed(names(), "and")),
    }
}

fn check_host(at: &At<Route>, settings: &Settings, sink: &mut Sink) {
    let Some(host) = at.value.host.get() else { return };
    let domains = settings.domains.value().map(|list| list.0.as_slice()).unwrap_or_default();
    let mut known: Vec<&str> = Vec::new();
    for domain in domains.iter().map(|at| &at.value.0) {
        known.extend(domain.domain.value().map(|name| name.0.as_str()));
        let aliases = domain.aliases.value().map(|list| list.0.as_slice()).unwrap_or_default();
        known.extend(aliases.iter().map(|alias| alias.value.0.as_str()));
    }
    let name = host.value.0.as_str();
    let below = |known: &&str| {
        let parent = known.strip_prefix('*');
        parent.is_some_and(|parent| name.trim_start_matches("*").ends_with(parent) && name != *known)
    };
    if known.contains(&name) || known.iter().any(below) || matches!(settings.domains, Field::Wrong(_)) {
        return;
    }
    let hint = match nearest(name, known) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            "a route is for one of `domains`, an alias of one, or, without `host`, for all of them".to_owned()
        }
    };
    sink.error_hint(host.span, format!("`{name}` is not a domain of this app"), hint);
}

fn path(route: &Route, sink: &mut Sink) -> PathMatch {
    let Some(given) = route.path.get() else { return PathMatch::default() };
    let OrRecord(path) = &given.value;
    for at in [path.prefix.get(), path.exact.get()].into_iter().flatten() {
        if at.value.0.contains('?') {
            sink.error_hint(
                at.span,
                "the path of a route has no query",
                "what the query must have goes below `when`",
            );
        }
    }
    match (path.prefix.value(), path.exact.value(), path.pattern.value()) {
        (Some(prefix), None, None) => PathMatch::Prefix(prefix.0.clone()),
        (None, Some(exact), None) => PathMatch::Exact(exact.0.clone()),
        (None, None, Some(pattern)) => PathMatch::Pattern(pattern.0.clone()),
        _ => {
            if [path.prefix.key(), path.exact.key(), path.pattern.key()].iter().flatten().count() != 1 {
                sink.error(given.key, "a path has one of the keys `prefix`, `exact` and `pattern`");
            }
            PathMatch::default()
        }
    }
}

fn when(given: &raw::When) -> When {
    let methods = given.method.value().map(|list| list.0.as_slice()).unwrap_or_default();
    When {
        methods: methods.iter().map(|at| at.value.0.clone()).collect(),
        headers: conditions(&given.headers, |name| &name.0),
        cookies: conditions(&given.cookies, |name| &name.0),
        query: conditions(&given.query, |name| &name.0),
        from: filters::networks(&given.from),
        tls: given.tls.value().map(|flag| flag.0),
    }
}

fn conditions<N>(
    given: &Field<Named<N, raw::Condition>>,
    text: fn(&N) -> &String,
) -> BTreeMap<Arc<str>, Test> {
    let entries = given.value().map(|map| map.entries.as_slice()).unwrap_or_default();
    entries.iter().map(|(name, test)| (text(&name.value).as_str().into(), test.value.0.clone())).collect()
}

fn split(route: &Route, sink: &mut Sink) -> Option<Split> {
    if let (Some(key), true) = (route.stick.key(), route.split.is_absent()) {
        let hint = "`load_balancing: {sticky: true}` keeps visitors on one replica";
        sink.error_hint(key, "`stick` keeps visitors on one side of a `split`, and there is none", hint);
    }
    let given = route.split.value()?;
    let side = |(name, weight): &(At<ProcessName>, At<crate::value::Count<0, 1_000_000>>)| Side {
        pool: PoolId(name.value.to_string()),
        weight: weight.value.0,
    };
    let stick = route.stick.value().and_then(Switch::on).map(|stick| self::stick(stick, sink));
    Some(Split { sides: given.entries.iter().map(side).collect(), stick })
}

fn stick(given: &raw::Stick, sink: &mut Sink) -> Stick {
    let default = SideCookie::default();
    if let Some(key) = &given.hash_on.value() {
        for (other, name) in
            [(given.cookie.key(), "cookie"), (given.ttl.key(), "ttl"), (given.same_site.key(), "same_site")]
        {
            if let Some(other) = other {
                let hint = "with `hash_on` nothing is remembered in a cookie";
                sink.error_hint(other, format!("`{name}` can't be given together with `hash_on`"), hint);
            }
        }
        return Stick::Hash(key.0.clone());
    }
    Stick::Cookie(SideCookie {
        name: given.cookie.value().map_or(default.name, |name| name.0.as_str().into()),
        max_age_seconds: given.ttl.value().map_or(default.max_age_seconds, |ttl| ttl.0.0.div_ceil(1000)),
        same_site: same_site(&given.same_site),
    })
}

fn redirect(at: &At<OrRecord<raw::Redirect>>, sink: &mut Sink) -> Redirect {
    let OrRecord(given) = &at.value;
    let to = given.to.value().cloned();
    let twice = [
        ("scheme", given.scheme.key(), to.as_ref().is_some_and(|to| to.https.is_some())),
        ("host", given.host.key(), to.as_ref().is_some_and(|to| to.host.is_some())),
        ("port", given.port.key(), to.as_ref().is_some_and(|to| to.host.is_some())),
        ("prefix", given.prefix.key(), to.as_ref().is_some_and(|to| to.path.is_some())),
    ];
    for (name, key, _) in twice.into_iter().filter(|(_, _, said)| *said) {
        if let Some(key) = key {
            sink.error_hint(key, format!("`{name}` is said by `to` already"), "keep one of them");
        }
    }
    let to = to.as_ref();
    let https =
        to.and_then(|to| to.https).or(given.scheme.value().map(|scheme| *scheme == raw::Scheme::Https));
    let prefix = given.prefix.value().map(|prefix| Rewrite::Prefix(prefix.0.clone()));
    Redirect {
        status: given.status.value().map_or(302, |status| u16::try_from(status.0).unwrap_or(302)),
        scheme: https.map(|https| if https { Scheme::Https } else { Scheme::Http }),
        host: to
            .and_then(|to| to.host.clone())
            .or_else(|| given.host.value().and_then(|host| host.0.parse().ok())),
        port: to.and_then(|to| to.port).or(given.port.value().map(|port| port.0)),
        path: to.and_then(|to| to.path.clone()).map(Rewrite::To).or(prefix),
        keep_query: given.keep_query.value().is_none_or(|flag| flag.0),
    }
}

fn respond(given: &raw::Respond) -> Respond {
    let headers = given.headers.value().map(|map| map.entries.as_slice()).unwrap_or_default();
    Respond {
        status: given.status.value().map_or(200, |status| u16::try_from(status.0).unwrap_or(200)),
        headers: headers
            .iter()
            .map(|(name, text)| (name.value.0.as_str().into(), text.value.0.clone()))
            .collect(),
        body: given.body.value().map_or("", |body| &body.0).into(),
    }
}

/// What a routing table would refuse of it. `spec` came of a file without errors.
pub(super) fn check_with_table(spec: &AppSpec, settings: &Settings, sink: &mut Sink) {
    let list = settings.routes.value().map(|list| list.0.as_slice()).unwrap_or_default();
    for fault in faults(spec) {
        let own = |process: &ProcessName| {
            let processes = settings.processes.value()?;
            let (_, at) = processes.entries.iter().find(|(name, _)| name.value == *process)?;
            at.value.load_balancing.key()
        };
        let place = match &fault.place {
            Place::Route(index) => list.get(*index).map(|route| route.span),
            Place::Pool(process) => own(process).or(settings.load_balancing.key()),
            Place::Domain(_) => settings.domains.key(),
            Place::Routes => settings.routes.key(),
        };
        match place {
            Some(span) => sink.error(span, fault.message),
            None => sink.whole(fault.to_string(), None),
        }
    }
}
