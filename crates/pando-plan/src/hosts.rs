//! How each domain is served where there is TLS, as apps ask for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_model::app::{AppSpec, DomainSpec, HstsSpec};
use pando_routing::https::ClientAuth;
use pando_routing::{Host, HostOptions, Hsts, Https};

/// Browsers preload only what holds for a year.
const YEAR: u64 = 365 * 24 * 3600;

/// Of the apps that are served, in their order. Empty while nobody asks for anything special: then load balancers need not look.
pub(crate) fn hosts<'a>(specs: impl Iterator<Item = &'a AppSpec>) -> BTreeMap<Host, HostOptions> {
    let mut hosts = BTreeMap::new();
    for domain in specs.flat_map(|spec| &spec.domains) {
        // Two apps that want one name: the first has it, as with its routes.
        let Ok(name) = domain.domain.parse::<Host>() else { continue };
        hosts.entry(name.clone()).or_insert_with(|| own(domain));
        for alias in domain.aliases.iter().filter_map(|alias| alias.parse::<Host>().ok()) {
            hosts.entry(alias.clone()).or_insert_with(|| other_name(domain, &alias, &name));
        }
    }
    straighten(&mut hosts);
    if hosts.values().all(|options| *options == HostOptions::default()) { BTreeMap::new() } else { hosts }
}

fn own(domain: &DomainSpec) -> HostOptions {
    let hsts = domain.https.hsts.as_ref().map(hsts);
    let client_auth = domain.https.client_auth.as_ref().map(|asked| {
        let ca = authorities_of(domain);
        ClientAuth { ca, optional: asked.optional }
    });
    HostOptions { https: Https { redirect: domain.https.redirect, hsts, canonical: None, client_auth } }
}

/// Whom domains believe that ask clients for certificates, by the names that [`hosts`] names them by.
pub(crate) fn authorities<'a>(
    specs: impl Iterator<Item = &'a AppSpec>,
    hosts: &BTreeMap<Host, HostOptions>,
) -> BTreeMap<Arc<str>, String> {
    let mut authorities = BTreeMap::new();
    for domain in specs.flat_map(|spec| &spec.domains) {
        let Some(asked) = &domain.https.client_auth else { continue };
        // Of two apps that want one name, the first has it.
        authorities.entry(authorities_of(domain)).or_insert_with(|| asked.ca_certificates.clone());
    }
    let named = |name: &Arc<str>| {
        hosts
            .values()
            .any(|options| options.https.client_auth.as_ref().is_some_and(|asked| asked.ca == *name))
    };
    authorities.retain(|name, _| named(name));
    authorities
}

fn authorities_of(domain: &DomainSpec) -> Arc<str> {
    format!("clients of {}", domain.domain).into()
}

/// Sent to the domain, if that is one host.
fn other_name(domain: &DomainSpec, alias: &Host, name: &Host) -> HostOptions {
    let mut options = own(domain);
    options.https.canonical =
        Some(name.clone()).filter(|name| matches!(name, Host::Exact(_)) && name != alias);
    options
}

fn hsts(spec: &HstsSpec) -> Hsts {
    let max_age = spec.max_age.0 / 1000;
    // What browsers would not take is left out: a table that says it is refused whole.
    let preload = spec.preload && spec.include_subdomains && max_age >= YEAR;
    Hsts { max_age, include_subdomains: spec.include_subdomains, preload }
}

/// Where another app has made an alias of what is a domain here, nobody is sent from one alias to the next.
fn straighten(hosts: &mut BTreeMap<Host, HostOptions>) {
    let leads_on = |host: &Host| hosts.get(host).is_some_and(|options| options.https.canonical.is_some());
    let astray = |options: &HostOptions| options.https.canonical.as_ref().is_some_and(leads_on);
    let astray: Vec<Host> =
        hosts.iter().filter(|(_, options)| astray(options)).map(|(host, _)| host.clone()).collect();
    for host in astray {
        if let Some(options) = hosts.get_mut(&host) {
            options.https.canonical = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use pando_model::app::ClientAuthSpec;
    use pando_model::app::HttpsSpec;
    use pando_model::time::Millis;
    use pando_routing::Table;

    use super::*;

    fn domain(name: &str, aliases: &[&str]) -> DomainSpec {
        let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        DomainSpec { domain: name.to_owned(), aliases, https: HttpsSpec::default() }
    }

    fn of(domains: Vec<DomainSpec>) -> BTreeMap<String, Https> {
        let text = r#"{"name": "hits", "run": {"directory": {"path": "."}}, "strategy": "replace", "min_ready": 0, "processes": {}}"#;
        let spec = AppSpec { domains, ..serde_json::from_str(text).unwrap() };
        let hosts = hosts(std::iter::once(&spec));
        let ca_certificates = authorities(std::iter::once(&spec), &hosts);
        let table = Table { schema: 1, hosts: hosts.clone(), ca_certificates, ..Table::default() };
        assert_eq!(table.validate(), Ok(()));
        hosts.into_iter().map(|(host, options)| (host.to_string(), options.https)).collect()
    }

    #[test]
    fn plain_domains_cost_load_balancers_nothing() {
        assert_eq!(of(vec![domain("a.example", &[]), domain("*.a.example", &[])]), BTreeMap::new());
    }

    #[test]
    fn clients_are_asked_by_the_app_that_has_the_name() {
        let pem = include_str!("../../pando-config/tests/fixtures/internal-ca.pem");
        let mut strict = domain("a.example", &["www.a.example"]);
        let asked = ClientAuthSpec { ca_certificates: pem.to_owned(), optional: true };
        strict.https.client_auth = Some(asked);
        let hosts = of(vec![strict.clone(), domain("b.example", &[])]);
        let asked = hosts["a.example"].client_auth.as_ref().unwrap();
        assert!(asked.optional && &*asked.ca == "clients of a.example");
        assert_eq!(hosts["www.a.example"].client_auth.as_ref(), Some(asked));
        assert_eq!(hosts["b.example"].client_auth, None);
        assert_eq!(of(vec![domain("a.example", &[]), domain("www.a.example", &[]), strict]), BTreeMap::new());
    }

    #[test]
    fn aliases_are_sent_to_their_domain() {
        let hosts = of(vec![
            domain("a.example", &["www.a.example", "*.b.example"]),
            domain("*.c.example", &["c.example"]),
        ]);
        let to = |name: &str| hosts[name].canonical.as_ref().map(ToString::to_string);
        assert_eq!((to("a.example"), to("www.a.example").as_deref()), (None, Some("a.example")));
        assert_eq!(to("*.b.example").as_deref(), Some("a.example"));
        assert_eq!(to("c.example"), None, "nobody could say to which");
    }

    #[test]
    fn an_alias_of_an_alias_is_served_itself() {
        let hosts = of(vec![domain("b.example", &["a.example"]), domain("a.example", &["www.a.example"])]);
        assert_eq!(hosts["www.a.example"].canonical, None);
        assert!(hosts["a.example"].canonical.is_some());
    }

    #[test]
    fn what_is_asked_of_a_domain_holds_for_its_aliases_and_covers_no_other() {
        let mut strict = domain("*.a.example", &["a.example"]);
        let hsts = HstsSpec { max_age: Millis::from_secs(YEAR), include_subdomains: true, preload: true };
        strict.https = HttpsSpec { redirect: false, hsts: Some(hsts.clone()), client_auth: None };
        let hosts = of(vec![strict.clone(), domain("shop.a.example", &[])]);
        assert_eq!(hosts["a.example"], hosts["*.a.example"]);
        assert!(!hosts["a.example"].redirect && hosts["a.example"].hsts.as_ref().unwrap().preload);
        assert_eq!(hosts["shop.a.example"], Https::default(), "the wildcard's do not hold for it");
        strict.https.hsts = Some(HstsSpec { max_age: Millis::from_secs(60), ..hsts });
        assert!(!of(vec![strict])["a.example"].hsts.as_ref().unwrap().preload);
    }
}
