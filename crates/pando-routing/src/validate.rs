//! What must hold of a table before a proxy uses it.

mod place;
mod policies;
mod rules;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::certificate::CertificateFault;
use crate::https;
use crate::table::{ProbeKind, Table};
use crate::upstream;
pub use place::{Fault, Place};
pub use rules::RuleFault;

/// More keys than a rotation needs only make opening a ticket slower.
const MOST_TICKET_KEYS: usize = 8;

/// What is wrong with a table; each names the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("schema {0} is not known here; this program reads schema 1")]
    Schema(u32),
    #[error("rule `{rule}` names the pool `{pool}`, which the table doesn't have")]
    UnknownPool { rule: String, pool: String },
    #[error("rule `{rule}`: {fault}")]
    Rule { rule: String, fault: RuleFault },
    #[error("two rules for `{0}`, which ask for the same")]
    TwiceTheSame(String),
    #[error("two rules are called `{0}`")]
    TwoNames(String),
    #[error("host `{host}` has {count} rules {what}; at most {most} are taken")]
    ManyAlike { host: String, what: &'static str, count: usize, most: usize },
    #[error(
        "the rate limits of all rules remember {0} subjects, of 16 bytes each; at most 8000000 are taken"
    )]
    ManySubjects(u64),
    #[error("error page {statuses} of `{set}` has {size} bytes in one format; at most 65536 are taken")]
    LargePage { set: String, statuses: String, size: usize },
    #[error("user `{user}` of `{set}`: {why}")]
    User { set: String, user: String, why: &'static str },
    #[error("endpoint {id} is in the pools `{first}` and `{second}`; an id stands for one endpoint")]
    EndpointTwice { id: String, first: String, second: String },
    #[error(
        "pool `{pool}`: `hedge` asks another endpoint, and `sticky` keeps visitors with one; leave one of them out"
    )]
    HedgeSticky { pool: String },
    #[error("pool `{pool}`: {what} must be at least 1")]
    Zero { pool: String, what: &'static str },
    #[error("pool `{pool}`: the probe's path `{path}` doesn't start with `/`")]
    ProbePath { pool: String, path: String },
    #[error(
        "pool `{pool}`: a `grpc` probe goes over HTTP/2, and the pool speaks HTTP/1.1; set its `protocol` to `h2c` or `h2`"
    )]
    ProbeGrpc { pool: String },
    #[error("pool `{pool}`: endpoint {address} has no port")]
    NoPort { pool: String, address: String },
    #[error("pool `{pool}`: {what} is {value}; it must be {least} to {most}")]
    Range { pool: String, what: &'static str, value: u64, least: u64, most: u64 },
    #[error("pool `{pool}`: {what} `{name}` is not a name that a header or a cookie can have")]
    Name { pool: String, what: &'static str, name: String },
    #[error("host `{host}`: it can't be another name for `{canonical}`: {why}")]
    Canonical { host: String, canonical: String, why: &'static str },
    #[error(
        "host `{host}`: browsers preload only what holds for a year (`max_age_seconds` 31536000) and for the subdomains"
    )]
    Preload { host: String },
    #[error("the certificate for `{certificate}`: {fault}")]
    Certificate { certificate: String, fault: CertificateFault },
    #[error("the authorities `{ca}` of `ca_certificates`: {fault}")]
    Ca { ca: String, fault: CertificateFault },
    #[error("the client certificate `{certificate}`: {fault}")]
    ClientCertificate { certificate: String, fault: CertificateFault },
    #[error("host `{host}`: its clients can't be asked for certificates: {why}")]
    ClientAuth { host: String, why: String },
    #[error("pool `{pool}`: {why}")]
    Tls { pool: String, why: String },
    #[error("two certificates for `{0}`")]
    TwoCertificates(String),
    #[error("there are {0} ticket keys; at most 8 are taken")]
    ManyTicketKeys(usize),
}

impl Table {
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn validate(&self) -> Result<(), Vec<TableError>> {
        self.validate_after(None)
    }

    /// As [`Table::validate`]. Certificates that `held`, which was validated, has too are not read again.
    ///
    /// # Errors
    /// As above.
    pub fn validate_after(&self, held: Option<&Self>) -> Result<(), Vec<TableError>> {
        let mut errors = Vec::new();
        if self.schema != 1 {
            errors.push(TableError::Schema(self.schema));
        }
        rules::check(self, &mut errors);
        self.check_endpoints(&mut errors);
        self.check_numbers(&mut errors);
        self.pools.iter().for_each(|(id, pool)| policies::check(id, pool, &mut errors));
        https::check(&self.hosts, &self.ca_certificates, &mut errors);
        upstream::check(self, held, &mut errors);
        self.check_secrets(held, &mut errors);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn check_endpoints(&self, errors: &mut Vec<TableError>) {
        let mut seen = BTreeMap::new();
        for (pool, endpoint) in self.endpoints() {
            if let Some(first) = seen.insert(endpoint.id, pool) {
                let (first, second) = (first.to_string(), pool.to_string());
                errors.push(TableError::EndpointTwice { id: endpoint.id.to_string(), first, second });
            }
            if endpoint.address.port() == 0 {
                let address = endpoint.address.to_string();
                errors.push(TableError::NoPort { pool: pool.to_string(), address });
            }
        }
    }

    fn check_secrets(&self, held: Option<&Self>, errors: &mut Vec<TableError>) {
        if self.secret.ticket_keys.len() > MOST_TICKET_KEYS {
            errors.push(TableError::ManyTicketKeys(self.secret.ticket_keys.len()));
        }
        let known: HashSet<_> = held.iter().flat_map(|held| &held.secret.certificates).collect();
        let mut hosts = BTreeSet::new();
        for certificate in &self.secret.certificates {
            let twice = certificate.hosts.iter().filter(|host| !hosts.insert(*host));
            errors.extend(twice.map(|host| TableError::TwoCertificates(host.to_string())));
            if !known.contains(certificate) {
                let faults = certificate.check().err().unwrap_or_default();
                let certificate = certificate.label();
                let named = |fault| TableError::Certificate { certificate: certificate.clone(), fault };
                errors.extend(faults.into_iter().map(named));
            }
        }
    }

    fn check_numbers(&self, errors: &mut Vec<TableError>) {
        for (id, pool) in &self.pools {
            let numbers = [
                ("probe.interval_millis", pool.probe.interval_millis),
                ("probe.timeout_millis", pool.probe.timeout_millis),
                ("probe.rise", u64::from(pool.probe.rise)),
                ("probe.fall", u64::from(pool.probe.fall)),
                ("timeouts.connect_millis", pool.timeouts.connect_millis),
                ("timeouts.response_millis", pool.timeouts.response_millis),
                ("timeouts.idle_millis", pool.timeouts.idle_millis),
            ];
            for (what, _) in numbers.into_iter().filter(|(_, number)| *number == 0) {
                errors.push(TableError::Zero { pool: id.to_string(), what });
            }
            if let ProbeKind::Http { path, .. } = &pool.probe.kind
                && !path.starts_with('/')
            {
                errors.push(TableError::ProbePath { pool: id.to_string(), path: path.clone() });
            }
            if matches!(pool.probe.kind, ProbeKind::Grpc { .. }) && !pool.protocol.is_http2() {
                errors.push(TableError::ProbeGrpc { pool: id.to_string() });
            }
        }
    }
}

/// A token of RFC 9110: what field names and cookies' names are.
pub(crate) fn is_token(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= 256 && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Host;

    fn table(text: &str) -> Table {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let bad = table(
            r#"{"schema": 2, "version": {"epoch": 1, "revision": 1},
                "rules": [{"host": "a.example", "path": "api", "pool": "gone"}, {"host": "*", "path": "/x", "pool": "p"},
                          {"host": "*", "path": "/x/", "pool": "p"}],
                "pools": {"p": {"endpoints": [
                    {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "address": "127.0.0.1:0"},
                    {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "address": "127.0.0.1:81"}],
                    "timeouts": {"idle_millis": 0}}}}"#,
        );
        let errors = bad.validate().unwrap_err();
        assert_eq!(errors.len(), 7, "{errors:#?}");
    }

    #[test]
    fn hosts_are_checked_when_read() {
        for bad in ["", "a b", "a..b", "*.", "ex*mple.com", "[::g]"] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
        for good in ["*", "localhost", "A.Example", "*.example.com", "10.0.0.1", "[::1]"] {
            assert!(good.parse::<Host>().is_ok(), "{good}");
        }
    }
}
