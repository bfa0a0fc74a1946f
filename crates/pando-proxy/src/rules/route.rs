//! A rule, compiled: what is found out once a table, so that requests don't have to.

use std::collections::HashMap;
use std::sync::Arc;

use pando_routing::rule::access::{Maintenance, Pause};
use pando_routing::rule::answers::ErrorPages;
use pando_routing::rule::{PathMatch, Redirect, Respond, Rewrite};
use pando_routing::{Destination, Filters, NetworkSet, PoolId, Rule, Table};

use super::limit::SharedLimit;
use super::live::RouteLive;
use super::password::{Passwords, Users};
use super::side::SplitView;
use crate::snapshot::PoolView;

/// The set of error pages for whoever names none.
const DEFAULT_PAGES: &str = "default";

/// A rule that does more than lead to a pool.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) live: Arc<RouteLive>,
    pub(super) path: PathMatch,
    pub(super) to: To,
    pub(super) filters: Box<Filters>,
    /// Empty: everybody may.
    pub(super) allow: NetworkSet,
    pub(super) deny: NetworkSet,
    pub(super) exempt: NetworkSet,
    pub(super) limits: Box<[Arc<SharedLimit>]>,
    pub(super) pages: Option<Arc<ErrorPages>>,
    pub(super) users: Option<Guarded>,
    /// Who says whether a request may pass.
    pub(super) authority: Option<Arc<PoolView>>,
    pub(super) mirror: Option<Arc<PoolView>>,
}

/// Where it leads.
#[derive(Debug)]
pub(super) enum To {
    Pool(Arc<PoolView>),
    Split(SplitView),
    Redirect(Redirect),
    Respond(Respond),
}

/// What rules of one table share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pages: HashMap<Arc<str>, Arc<ErrorPages>>,
    users: HashMap<Arc<str>, Guarded>,
}

/// Users, and what is remembered of them.
type Guarded = (Arc<Users>, Arc<Passwords>);

impl Shared {
    /// What is remembered of users is taken from the table before.
    pub(crate) fn of(table: &Table, before: Option<&Self>) -> Self {
        let pages = table.error_pages.iter().map(|(name, pages)| (Arc::clone(name), Arc::new(pages.clone())));
        let known = |name: &str| before.and_then(|shared| shared.users.get(name));
        let users = table.secret.users.iter().map(|(name, users)| {
            let passwords = known(name).map(|(_, passwords)| Arc::clone(passwords));
            let passwords = passwords.unwrap_or_else(|| Arc::new(Passwords::new()));
            (Arc::clone(name), (Arc::new(users.clone()), passwords))
        });
        Self { pages: pages.collect(), users: users.collect() }
    }

    /// Pages for whoever names none.
    pub(crate) fn pages(&self) -> Option<&Arc<ErrorPages>> {
        self.pages.get(DEFAULT_PAGES)
    }
}

/// What routes are made of.
pub(crate) struct Parts<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) pool: &'a dyn Fn(&PoolId) -> Option<Arc<PoolView>>,
    /// The route of that label in the table before.
    pub(crate) before: &'a dyn Fn(&str) -> Option<Arc<Route>>,
    /// What was kept for that label.
    pub(crate) live: &'a dyn Fn(&str) -> Option<Arc<RouteLive>>,
}

impl Route {
    /// `None`: the rule leads to a pool, and that is all. `labels` are those that are given already.
    pub(crate) fn of(rule: &Rule, parts: &Parts<'_>, labels: &mut Labels) -> Option<Arc<Self>> {
        if !does_more(rule, parts) {
            return None;
        }
        let to = match &rule.to {
            Destination::Pool(pool) => To::Pool((parts.pool)(pool)?),
            Destination::Split(split) => To::Split(SplitView::new(split, parts)?),
            Destination::Redirect(redirect) => To::Redirect(redirect.clone()),
            Destination::Respond(respond) => To::Respond(respond.clone()),
        };
        let label = unique(rule.label(), labels);
        let before = (parts.before)(&label);
        let live = live(rule, label, parts);
        let filters = rule.filters.clone().unwrap_or_default();
        let exempt = filters.maintenance.iter().flat_map(|Maintenance { allow, .. }| allow).collect();
        Some(Arc::new(Self {
            live,
            path: rule.path.clone(),
            to,
            allow: filters.allow.iter().collect(),
            deny: filters.deny.iter().collect(),
            exempt,
            limits: limits(&filters, before.as_deref()),
            pages: pages(&filters, parts),
            users: users(&filters, parts),
            authority: filters.forward_auth.as_ref().and_then(|auth| (parts.pool)(&auth.pool)),
            mirror: filters.mirror.as_ref().and_then(|mirror| (parts.pool)(&mirror.pool)),
            filters,
        }))
    }

    /// The pause that holds its requests at that moment (Unix milliseconds).
    pub(super) fn paused(&self, now_millis: i64) -> Option<&Pause> {
        self.filters.pause.as_ref().filter(|pause| pause.left(now_millis).is_some())
    }

    /// Bytes of the path that a rewrite replaces, and what stands there instead.
    pub(super) fn prefix(&self, rewrite: &Rewrite) -> Option<(usize, Box<[u8]>)> {
        match (rewrite, &self.path) {
            (Rewrite::Prefix(new), PathMatch::Prefix(old)) => {
                Some((old.trim_end_matches('/').len(), new.trim_end_matches('/').as_bytes().into()))
            }
            _ => None,
        }
    }
}

/// What is counted of a rule that only leads to a pool: something if it has a name.
pub(crate) fn counted(rule: &Rule, parts: &Parts<'_>, labels: &mut Labels) -> Option<Arc<RouteLive>> {
    rule.name.as_ref()?;
    Some(live(rule, unique(rule.label(), labels), parts))
}

fn live(rule: &Rule, label: String, parts: &Parts<'_>) -> Arc<RouteLive> {
    let live = (parts.live)(&label).unwrap_or_else(|| Arc::new(RouteLive::new(label.into())));
    live.set_path(&rule.path.to_string());
    live
}

/// How often a label was given.
pub(crate) type Labels = HashMap<String, u32>;

/// Rules for one path, without names, are told apart by a number.
fn unique(label: String, labels: &mut Labels) -> String {
    let count = labels.entry(label.clone()).or_default();
    *count += 1;
    if *count == 1 { label } else { format!("{label}#{count}") }
}

/// A set that isn't there has no users: nobody comes in.
fn users(filters: &Filters, parts: &Parts<'_>) -> Option<Guarded> {
    let name = &filters.basic_auth.as_ref()?.users;
    let known = parts.shared.users.get(name);
    Some(known.cloned().unwrap_or_else(|| (Arc::default(), Arc::new(Passwords::new()))))
}

/// Than leading to a pool.
fn does_more(rule: &Rule, parts: &Parts<'_>) -> bool {
    let stands_in = parts.shared.pages().is_some_and(|pages| pages.replica_errors);
    rule.filters.is_some() || !matches!(rule.to, Destination::Pool(_)) || stands_in
}

/// A limit that is the same as before goes on counting where it was.
fn limits(filters: &Filters, before: Option<&Route>) -> Box<[Arc<SharedLimit>]> {
    let known = |limit: &&_| before.and_then(|route| route.limits.iter().find(|known| &known.rule == *limit));
    let shared = |limit| known(&limit).map_or_else(|| Arc::new(SharedLimit::new(limit)), Arc::clone);
    filters.rate_limits.iter().map(shared).collect()
}

fn pages(filters: &Filters, parts: &Parts<'_>) -> Option<Arc<ErrorPages>> {
    let named = filters.error_pages.as_ref().and_then(|name| parts.shared.pages.get(name));
    named.or_else(|| parts.shared.pages()).map(Arc::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_compiled(rule: &str, table: &str) -> bool {
        let table: Table = serde_json::from_str(table).unwrap();
        let shared = Shared::of(&table, None);
        let parts = Parts { shared: &shared, pool: &|_| None, before: &|_| None, live: &|_| None };
        does_more(&serde_json::from_str(rule).unwrap(), &parts)
    }

    #[test]
    fn labels_are_one_of_a_kind() {
        let mut labels = HashMap::new();
        let all = ["a/", "b/", "a/", "a/"].map(|label| unique(label.to_owned(), &mut labels));
        assert_eq!(all, ["a/", "b/", "a/#2", "a/#3"]);
    }

    #[test]
    fn what_only_leads_to_a_pool_costs_what_it_did() {
        let table = r#"{"version": {"epoch": 1, "revision": 1}}"#;
        for plain in [
            r#"{"host": "*", "pool": "p"}"#,
            r#"{"name": "n", "host": "*", "path": {"exact": "/"}, "when": {"tls": true}, "pool": "p", "filters": {}}"#,
        ] {
            assert!(!is_compiled(plain, table), "{plain}");
        }
        assert!(is_compiled(r#"{"host": "*", "pool": "p", "filters": {"deny": ["::/0"]}}"#, table));
        let hides = r#"{"version": {"epoch": 1, "revision": 1}, "error_pages": {"default": {"replica_errors": true}}}"#;
        assert!(is_compiled(r#"{"host": "*", "pool": "p"}"#, hides));
    }
}
