//! How hosts are served where there is TLS: redirected to it, told to stay with it, known by one name.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::table::Host;
use crate::validate::TableError;

/// The shortest `max_age_seconds` that browsers' preload lists take: a year.
const PRELOAD_AGE: u64 = 31_536_000;

/// What holds for a host whatever the path. Found as rules' hosts are: the most exact wins, and only that one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostOptions {
    pub https: Https,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Https {
    /// Requests without TLS are sent to the same place with it (308), where the host has a certificate. Default true.
    pub redirect: bool,
    /// What answers over TLS tell browsers (RFC 6797). Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
    /// The host that this one is another name for: requests are sent there (308). Default: none, it is served itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical: Option<Host>,
    /// Clients have to show a certificate. Default: nobody is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
}

/// Who may come in by a certificate of theirs. Endpoints are told of it in `Client-Cert` (RFC 9440), `X-Client-Cert-Subject` and
/// `X-Client-Cert-Fingerprint`, which nobody else can send them while any host of the table has this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientAuth {
    /// One of the table's `ca_certificates`: where certificates have to come from.
    pub ca: Arc<str>,
    /// Who shows none comes in too, untold of. One that is shown has to be good all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl Default for Https {
    fn default() -> Self {
        Self { redirect: true, hsts: None, canonical: None, client_auth: None }
    }
}

/// `Strict-Transport-Security`: for so long browsers use TLS and nothing else for the host. It can't be taken back sooner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hsts {
    /// 0 tells browsers to forget it.
    #[serde(rename = "max_age_seconds")]
    pub max_age: u64,
    #[serde(default)]
    pub include_subdomains: bool,
    /// Asks to be built into browsers, which wants a year and the subdomains.
    #[serde(default)]
    pub preload: bool,
}

impl Hsts {
    /// The header's value.
    #[must_use]
    pub fn value(&self) -> String {
        let subdomains = if self.include_subdomains { "; includeSubDomains" } else { "" };
        let preload = if self.preload { "; preload" } else { "" };
        format!("max-age={}{subdomains}{preload}", self.max_age)
    }
}

pub(crate) fn check(
    hosts: &BTreeMap<Host, HostOptions>,
    ca_certificates: &BTreeMap<Arc<str>, String>,
    errors: &mut Vec<TableError>,
) {
    for (host, options) in hosts {
        let name = || host.to_string();
        if let Some(policy) = &options.https.client_auth
            && !ca_certificates.contains_key(&policy.ca)
        {
            let why = format!("`ca_certificates` has no `{}`", policy.ca);
            errors.push(TableError::ClientAuth { host: name(), why });
        }
        if let Some(canonical) = &options.https.canonical
            && let Some(why) = misdirects(hosts, host, canonical)
        {
            errors.push(TableError::Canonical { host: name(), canonical: canonical.to_string(), why });
        }
        let hsts = options.https.hsts.as_ref();
        if hsts.is_some_and(|hsts| hsts.preload && (hsts.max_age < PRELOAD_AGE || !hsts.include_subdomains)) {
            errors.push(TableError::Preload { host: name() });
        }
    }
}

/// Why requests can't be sent there.
fn misdirects(hosts: &BTreeMap<Host, HostOptions>, host: &Host, canonical: &Host) -> Option<&'static str> {
    if !matches!(canonical, Host::Exact(_)) {
        return Some("it must be one host");
    }
    if canonical == host {
        return Some("a host is no other name for itself");
    }
    let beyond = hosts.get(canonical).and_then(|options| options.https.canonical.as_ref());
    beyond.map(|_| "that is another name itself; name the last of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(json: &str) -> Vec<String> {
        let mut errors = Vec::new();
        check(&serde_json::from_str(json).unwrap(), &[("ours".into(), String::new())].into(), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn redirects_are_on_and_the_rest_is_off_unless_said() {
        let options: HostOptions = serde_json::from_str("{}").unwrap();
        assert_eq!(options, HostOptions::default());
        assert!(options.https.redirect && options.https.hsts.is_none() && options.https.canonical.is_none());
        let options: HostOptions = serde_json::from_str(r#"{"https": {"redirect": false}}"#).unwrap();
        assert!(!options.https.redirect);
    }

    #[test]
    fn clients_are_asked_for_certificates_of_authorities_that_are_there() {
        assert_eq!(faults(r#"{"a": {"https": {"client_auth": {"ca": "ours", "optional": true}}}}"#).len(), 0);
        let faults = faults(r#"{"a": {"https": {"client_auth": {"ca": "gone"}}}}"#);
        assert!(faults.len() == 1 && faults[0].contains("`a`") && faults[0].contains("`gone`"), "{faults:?}");
    }

    #[test]
    fn other_names_lead_to_one_host_at_once() {
        assert_eq!(
            faults(r#"{"a": {"https": {"canonical": "b"}}, "*.b": {"https": {"canonical": "www.b"}}}"#).len(),
            0
        );
        for wrong in [
            r#"{"a": {"https": {"canonical": "a"}}}"#,
            r#"{"a": {"https": {"canonical": "*.b"}}}"#,
            r#"{"a": {"https": {"canonical": "b"}}, "b": {"https": {"canonical": "c"}}}"#,
        ] {
            let faults = faults(wrong);
            assert!(faults.len() == 1 && faults[0].contains("`a`"), "{wrong}: {faults:?}");
        }
    }

    #[test]
    fn hsts_is_written_as_browsers_read_it_and_preloading_is_for_good() {
        let hsts = |max_age, include_subdomains, preload| Hsts { max_age, include_subdomains, preload };
        assert_eq!(hsts(300, false, false).value(), "max-age=300");
        assert_eq!(hsts(PRELOAD_AGE, true, true).value(), "max-age=31536000; includeSubDomains; preload");
        let of = |hsts: &str| faults(&format!(r#"{{"a": {{"https": {{"hsts": {hsts}}}}}}}"#));
        assert_eq!(
            of(r#"{"max_age_seconds": 31536000, "include_subdomains": true, "preload": true}"#).len(),
            0
        );
        assert_eq!(of(r#"{"max_age_seconds": 31536000, "preload": true}"#).len(), 1);
        assert_eq!(of(r#"{"max_age_seconds": 300, "include_subdomains": true, "preload": true}"#).len(), 1);
    }
}
