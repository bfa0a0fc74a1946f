//! What a table says of hosts and TLS: who is redirected where, what browsers are told to remember, who lacks a certificate.

use std::sync::Arc;

use pando_routing::matcher::{LONGEST_HOST, normalise};
use pando_routing::{Host, HostOptions, Table};

use crate::client::Client;
use crate::forward::Page;
use crate::hosts::HostMap;
use crate::tls::{Certificates, Mark, mark};

/// Where authorities look for what proves that a host is ours: reachable without TLS, at the very host that is asked for.
const CHALLENGES: &[u8] = b"/.well-known/acme-challenge/";

/// So many hosts without a certificate are named in reports.
const NAMED: usize = 100;

/// The port that needs no mention.
const HTTPS: u16 = 443;

/// Of one table.
#[derive(Debug)]
pub(crate) struct HttpsRules {
    pub(crate) certificates: Arc<Certificates>,
    hosts: HostMap<Rule>,
    /// Some host has another name that is its proper one.
    moves: bool,
    /// Some host tells browsers to remember TLS.
    tells: bool,
    /// Some host has its clients show who they are.
    asks: bool,
    /// Where TLS is spoken; `None`: nowhere that we know of.
    port: Option<u16>,
}

/// For one host.
#[derive(Debug)]
struct Rule {
    redirect: bool,
    hsts: Option<Arc<[u8]>>,
    canonical: Option<Box<[u8]>>,
    /// What clients have to have passed.
    client_auth: Option<Mark>,
}

impl Rule {
    fn of(table: &Table, options: &HostOptions) -> Self {
        let canonical = match &options.https.canonical {
            Some(Host::Exact(name)) => Some(name.as_bytes().into()),
            _ => None,
        };
        let hsts = options.https.hsts.as_ref().map(|hsts| hsts.value().into_bytes().into());
        let client_auth = options.https.client_auth.as_ref().and_then(|policy| mark(table, policy));
        Self { redirect: options.https.redirect, hsts, canonical, client_auth }
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// As it stands in the request's head.
    pub(crate) host: &'a [u8],
    /// In its normal spelling.
    pub(crate) path: &'a [u8],
    /// Path and query, as they stand there.
    pub(crate) origin: &'a [u8],
}

impl HttpsRules {
    pub(crate) fn of(table: &Table, certificates: Arc<Certificates>, port: Option<u16>) -> Self {
        let rule = |(host, options): (&Host, &HostOptions)| (host.clone(), Rule::of(table, options));
        let asks = table.hosts.values().any(|options| options.https.client_auth.is_some());
        let moves = table.hosts.values().any(|options| options.https.canonical.is_some());
        let tells = table.hosts.values().any(|options| options.https.hsts.is_some());
        Self { certificates, hosts: table.hosts.iter().map(rule).collect(), moves, tells, asks, port }
    }

    /// Where a request has to go instead, if it does.
    pub(crate) fn elsewhere(&self, target: Target<'_>, secure: bool) -> Option<Vec<u8>> {
        if !self.moves && (secure || self.certificates.is_empty()) {
            return None;
        }
        let mut room = [0; LONGEST_HOST];
        let name = normalise(target.host, &mut room);
        let rule = self.hosts.find(name);
        let canonical =
            rule.and_then(|rule| rule.canonical.as_deref()).filter(|canonical| *canonical != name);
        let needs_tls = !secure && self.needs_tls(canonical.unwrap_or(name));
        if (canonical.is_none() && !needs_tls) || target.path.starts_with(CHALLENGES) || target.origin == b"*"
        {
            return None;
        }
        Some(self.location(canonical, name, needs_tls, target, secure))
    }

    fn needs_tls(&self, name: &[u8]) -> bool {
        let redirect = || self.hosts.find(name).is_none_or(|rule| rule.redirect);
        self.port.is_some() && self.certificates.find(name).is_some() && redirect()
    }

    fn location(
        &self,
        canonical: Option<&[u8]>,
        name: &[u8],
        to_tls: bool,
        target: Target<'_>,
        secure: bool,
    ) -> Vec<u8> {
        let scheme: &[u8] = if secure || to_tls { b"https://" } else { b"http://" };
        let mut location = [scheme, canonical.unwrap_or(name)].concat();
        match self.port.filter(|_| to_tls) {
            Some(HTTPS) => {}
            Some(port) => location.extend_from_slice(format!(":{port}").as_bytes()),
            None => location.extend_from_slice(port_of(target.host)),
        }
        if !target.origin.starts_with(b"/") {
            location.push(b'/');
        }
        location.extend_from_slice(target.origin);
        location
    }

    /// Whether some host has its clients show who they are.
    pub(crate) fn asks_clients(&self) -> bool {
        self.asks
    }

    /// What replicas are told of the client's certificate, if the host asks for one and it has shown one.
    ///
    /// # Errors
    /// The host asks for one, and nobody has looked at this client as that host wants it.
    pub(crate) fn shown(&self, host: &[u8], client: &Client) -> Result<Option<Arc<[u8]>>, Page> {
        let mut room = [0; LONGEST_HOST];
        let rule = self.hosts.find(normalise(host, &mut room));
        let Some(mark) = rule.and_then(|rule| rule.client_auth.as_ref()) else { return Ok(None) };
        match &client.session {
            Some(session) if session.has_passed(mark) => Ok(session.shown().map(Arc::clone)),
            _ => Err(Page::NotShown),
        }
    }

    /// What answers over TLS say to browsers.
    pub(crate) fn hsts(&self, host: &[u8]) -> Option<Arc<[u8]>> {
        if !self.tells {
            return None;
        }
        let mut room = [0; LONGEST_HOST];
        self.hosts.find(normalise(host, &mut room))?.hsts.clone()
    }

    /// How many hosts of the table's rules have no certificate, and the first hundred of them by name.
    pub(crate) fn without_certificate(&self, table: &Table) -> (usize, Vec<String>) {
        let without = table.rules.iter().map(|rule| &rule.host).filter(|host| !self.certificates.has(host));
        let without: std::collections::BTreeSet<_> = without.collect();
        (without.len(), without.iter().take(NAMED).map(ToString::to_string).collect())
    }
}

/// With its colon, as the client sent it.
fn port_of(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| matches!(*byte, b':' | b']')) {
        Some(at) if host[at] == b':' => &host[at..],
        _ => b"",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pando_routing::{Certificate, SecretText, Secrets};

    use super::*;

    /// With certificates for `a.example` and `*.b.example`.
    fn rules(hosts: &str, port: Option<u16>) -> HttpsRules {
        let names = ["a.example", "*.b.example"];
        let made = rcgen::generate_simple_self_signed(names.map(str::to_owned)).unwrap();
        let certificate = Certificate {
            hosts: names.iter().map(|name| name.parse().unwrap()).collect(),
            chain_pem: made.cert.pem(),
            key_pem: SecretText(made.signing_key.serialize_pem()),
        };
        let secret = Secrets { certificates: vec![certificate], ..Secrets::default() };
        let hosts: BTreeMap<Host, HostOptions> = serde_json::from_str(hosts).unwrap();
        let table = Table { schema: 1, hosts, secret, ..Table::default() };
        HttpsRules::of(&table, Arc::new(Certificates::of(&table, None, 0).unwrap()), port)
    }

    fn elsewhere(rules: &HttpsRules, url: &str, secure: bool) -> Option<String> {
        let (host, origin) = url.find('/').map_or((url, ""), |slash| url.split_at(slash));
        let path = origin.split('?').next().unwrap();
        let target = Target { host: host.as_bytes(), path: path.as_bytes(), origin: origin.as_bytes() };
        rules.elsewhere(target, secure).map(|location| String::from_utf8(location).unwrap())
    }

    #[test]
    fn hosts_with_a_certificate_are_redirected_to_tls() {
        let plain = rules(r#"{"off.b.example": {"https": {"redirect": false}}}"#, Some(443));
        for (from, to) in [
            ("a.example/x?y=1", Some("https://a.example/x?y=1")),
            ("A.Example.:8080", Some("https://a.example/")),
            ("x.b.example/", Some("https://x.b.example/")),
            ("b.example/", None),
            ("x.y.b.example/", None),
            ("off.b.example/", None),
            ("other.example/", None),
            ("a.example/.well-known/acme-challenge/token", None),
            ("/", None),
        ] {
            assert_eq!(elsewhere(&plain, from, false).as_deref(), to, "{from}");
            assert_eq!(elsewhere(&plain, from, true), None, "{from}");
        }
        assert_eq!(
            elsewhere(&rules("{}", Some(8443)), "a.example/", false).unwrap(),
            "https://a.example:8443/"
        );
        assert_eq!(elsewhere(&rules("{}", None), "a.example/", false), None);
    }

    #[test]
    fn other_names_are_redirected_to_the_canonical_one_in_one_step() {
        let hosts = r#"{"www.a.example": {"https": {"canonical": "a.example"}},
                        "*.c.example": {"https": {"canonical": "www.c.example"}}}"#;
        let rules = rules(hosts, Some(443));
        for (from, secure, to) in [
            ("www.a.example/x", false, Some("https://a.example/x")),
            ("www.a.example/x", true, Some("https://a.example/x")),
            ("y.c.example:8080/x", false, Some("http://www.c.example:8080/x")),
            ("y.c.example:8443/x", true, Some("https://www.c.example:8443/x")),
            ("www.c.example/x", true, None),
            ("www.a.example/.well-known/acme-challenge/t", false, None),
            ("a.example/x", true, None),
        ] {
            assert_eq!(elsewhere(&rules, from, secure).as_deref(), to, "{from}");
        }
    }

    #[test]
    fn hosts_without_a_certificate_are_named() {
        let rules = rules("{}", None);
        let hosts = ["a.example", "x.b.example", "*.b.example", "x.a.example", "x.a.example", "*"];
        let pool = || pando_routing::PoolId("p".to_owned());
        let rule = |host: &&str| pando_routing::Rule::new(host.parse().unwrap(), "/", pool());
        let table = Table { rules: hosts.iter().map(rule).collect(), ..Table::default() };
        assert_eq!(rules.without_certificate(&table), (1, vec!["x.a.example".to_owned()]));
    }
}
