//! What must hold of a rule's filters.

use std::collections::BTreeSet;

use super::{Faults, MOST_NETWORKS, RuleFault, is_framing};
use crate::rule::Filters;
use crate::rule::access::{ForwardAuth, Pause};
use crate::rule::answers::{Compression, Cors, OriginMatch};
use crate::rule::filters::HeaderChanges;
use crate::rule::limits::{Buffering, Mirror, RateKey, RateLimit};
use crate::table::Table;

const DAY_SECONDS: u64 = 86_400;
const MINUTE_MILLIS: u64 = 60_000;
/// Rate limits of one rule.
const MOST_LIMITS: usize = 8;
/// Header changes of one kind, and what else is listed by name.
const MOST_NAMES: usize = 64;

impl Faults<'_> {
    pub(super) fn filters(&mut self, filters: &Filters, table: &Table) {
        if let Some(rewrite) = &filters.rewrite {
            if self.rule.strip_prefix {
                self.found.push(RuleFault::TwoPaths);
            }
            self.rewrite(rewrite);
        }
        self.changes(&filters.request_headers);
        self.changes(&filters.response_headers);
        self.bounded("allowed networks", filters.allow.len(), MOST_NETWORKS);
        self.bounded("denied networks", filters.deny.len(), MOST_NETWORKS);
        self.entry(filters, table);
        self.limits(&filters.rate_limits);
        filters.cors.iter().for_each(|cors| self.cors(cors));
        filters.compression.iter().for_each(|compression| self.compression(compression));
        let buffers = [&filters.buffer_request, &filters.buffer_response];
        buffers.into_iter().flatten().for_each(|buffer| self.buffer(*buffer));
        filters.mirror.iter().for_each(|mirror| self.mirror(mirror));
        if let Some(name) = filters.error_pages.as_ref().filter(|name| !table.error_pages.contains_key(*name))
        {
            self.found.push(RuleFault::Unknown { what: "error_pages", name: name.to_string() });
        }
    }

    fn changes(&mut self, changes: &HeaderChanges) {
        self.bounded("changed headers", changes.values().count() + changes.remove.len(), MOST_NAMES);
        changes.values().for_each(|(name, value)| self.changed(name, value));
        for name in &changes.remove {
            self.token("the header", name);
            if is_framing(name) || name.eq_ignore_ascii_case("host") {
                self.found.push(RuleFault::Framing(name.to_string()));
            }
        }
        if changes.add.keys().any(|name| name.eq_ignore_ascii_case("host")) {
            self.found.push(RuleFault::Other("a request has one `host`: set it, don't add it"));
        }
    }

    /// Who gets in.
    fn entry(&mut self, filters: &Filters, table: &Table) {
        if let Some(auth) = &filters.basic_auth {
            if !table.secret.users.contains_key(&auth.users) {
                self.found.push(RuleFault::Unknown { what: "secret.users", name: auth.users.to_string() });
            }
            if auth.realm.contains(|c: char| !matches!(c, ' '..='~') || matches!(c, '"' | '\\')) {
                self.found.push(RuleFault::Other("a realm is of visible ASCII without `\"` and `\\`"));
            }
        }
        filters.forward_auth.iter().for_each(|auth| self.forward_auth(auth));
        if let Some(maintenance) = &filters.maintenance {
            let seconds = maintenance.retry_after_seconds.into();
            self.range("maintenance.retry_after_seconds", seconds, 1, DAY_SECONDS);
            self.bounded("networks of maintenance", maintenance.allow.len(), MOST_NETWORKS);
            let length = maintenance.message.as_ref().map_or(0, |message| message.len());
            self.range("the length of maintenance.message", length as u64, 0, 1_000);
        }
        if let Some(Pause { hold_millis, most, .. }) = &filters.pause {
            self.range("pause.hold_millis", *hold_millis, 1, 5 * MINUTE_MILLIS);
            self.range("pause.most", (*most).into(), 1, 100_000);
        }
    }

    fn forward_auth(&mut self, auth: &ForwardAuth) {
        let path = auth.path.split('?').next().unwrap_or_default();
        if !path.starts_with('/') || auth.path.contains(|c: char| !matches!(c, '!'..='~') || c == '#') {
            self.found.push(RuleFault::Path(auth.path.clone()));
        }
        self.range("forward_auth.timeout_millis", auth.timeout_millis, 1, MINUTE_MILLIS);
        self.bounded(
            "headers of forward_auth",
            auth.copy.len().max(auth.send.as_ref().map_or(0, Vec::len)),
            MOST_NAMES,
        );
        for name in auth.copy.iter().chain(auth.send.iter().flatten()) {
            self.token("the header", name);
            if is_framing(name) || name.eq_ignore_ascii_case("host") {
                self.found.push(RuleFault::Framing(name.to_string()));
            }
        }
    }

    fn limits(&mut self, limits: &[RateLimit]) {
        self.bounded("rate_limits", limits.len(), MOST_LIMITS);
        let mut names = BTreeSet::new();
        for limit in limits {
            if !names.insert(&limit.name) {
                self.found.push(RuleFault::Twice { what: "the rate limit", name: limit.name.to_string() });
            }
            if limit.name.is_empty() || limit.name.contains(|c: char| !matches!(c, ' '..='~')) {
                self.found.push(RuleFault::Other("a rate limit's name is of visible ASCII"));
            }
            self.range("requests", limit.requests.into(), 1, 1_000_000);
            self.range("window_seconds", limit.window_seconds.into(), 1, DAY_SECONDS);
            self.range("burst", limit.burst.unwrap_or(1).into(), 1, 1_000_000);
            self.range("subjects", limit.subjects.into(), 1, 1_000_000);
            match &limit.key {
                RateKey::Header(name) => self.token("the header", name),
                RateKey::Cookie(name) => self.token("the cookie", name),
                RateKey::Network(bits) => {
                    self.range("network.v4", bits.v4.into(), 1, 32);
                    self.range("network.v6", bits.v6.into(), 1, 64);
                }
                RateKey::Address | RateKey::Everyone => {}
            }
        }
    }

    fn cors(&mut self, cors: &Cors) {
        if cors.origins.is_empty() {
            self.found.push(RuleFault::Empty("cors.origins"));
        }
        if cors.credentials && cors.origins.contains(&OriginMatch::Any) {
            self.found.push(RuleFault::AnyOrigin);
        }
        self.range("cors.max_age_seconds", cors.max_age_seconds.into(), 0, DAY_SECONDS);
        self.bounded("cors.origins", cors.origins.len(), 256);
        self.bounded("headers of cors", cors.headers.len().max(cors.expose.len()), MOST_NAMES);
        self.bounded("cors.methods", cors.methods.len(), MOST_NAMES);
        cors.methods.iter().for_each(|name| self.token("the method", name));
        cors.headers.iter().chain(&cors.expose).for_each(|name| self.token("the header", name));
    }

    fn compression(&mut self, compression: &Compression) {
        if compression.encodings.is_empty() {
            self.found.push(RuleFault::Empty("compression.encodings"));
        }
        let mut seen = BTreeSet::new();
        for encoding in compression.encodings.iter().filter(|encoding| !seen.insert(**encoding)) {
            self.found.push(RuleFault::Twice { what: "the encoding", name: encoding.as_str().to_owned() });
        }
        self.bounded("compression.types", compression.types.as_ref().map_or(0, Vec::len), MOST_NAMES);
        for name in compression.types.iter().flatten() {
            let (kind, sub) = name.split_once('/').unwrap_or_default();
            self.token("one half of the media type", kind);
            self.token("one half of the media type", sub);
        }
    }

    fn buffer(&mut self, buffer: Buffering) {
        self.range("max_bytes", buffer.max_bytes, 1, 64 << 20);
    }

    fn mirror(&mut self, mirror: &Mirror) {
        self.range("mirror.percent", mirror.percent.into(), 1, 100);
        self.range("mirror.max_body_bytes", mirror.max_body_bytes, 0, 1 << 20);
        self.range("mirror.max_in_flight", mirror.max_in_flight.into(), 1, 10_000);
    }
}
