//! The secret part of a table apart from it: what says which one goes with which table, and how the two are put together again.
//!
//! Tables are published without certificates and keys, which travel to entry points alone. A table names the mark of the secret part
//! that it goes with, so that whoever has both knows whether they belong together.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::certificate::Secrets;
use crate::table::{Host, PoolId, Table};
use crate::upstream::ClientCertificate;

/// Tells one secret part (certificates, keys) from another, and nothing of what it is. Empty: nobody has said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretMark(pub String);

impl SecretMark {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Table {
    /// The table as it is published: it names the secret part that it goes with, and has none of it but users, which come with
    /// the specifications that name them.
    #[must_use]
    pub fn marked(&self, mark: SecretMark) -> Self {
        let secret = Secrets { mark, users: self.secret.users.clone(), ..Secrets::default() };
        Self { secret, locality: None, ..self.public() }
    }

    /// The table as a proxy gets it: with this secret part, whichever it was published for. What a pool shows to its endpoints is
    /// the certificate that serves the host which it names; a pool whose certificate is not there shows none, since a table that
    /// names what it doesn't have would be refused as a whole.
    #[must_use]
    pub fn joined(&self, secrets: &Secrets) -> Self {
        let secret = Secrets { users: self.secret.users.clone(), ..secrets.clone() };
        let mut joined = Self { secret, ..self.public() };
        for pool in joined.pools.values_mut() {
            let Some(tls) = &mut pool.tls else { continue };
            let Some(name) = tls.client_certificate.take() else { continue };
            if let Some(certificate) = shown(&name, secrets) {
                joined.secret.client_certificates.insert(Arc::clone(&name), certificate);
                tls.client_certificate = Some(name);
            }
        }
        joined
    }

    /// Pools that would show endpoints a certificate which this secret part does not have, with the host that they name.
    pub fn lacking<'t>(&'t self, secrets: &Secrets) -> impl Iterator<Item = (&'t PoolId, &'t str)> {
        let named = |(id, pool): (&'t PoolId, &'t crate::table::Pool)| {
            Some((id, pool.tls.as_ref()?.client_certificate.as_deref()?))
        };
        self.pools.iter().filter_map(named).filter(|(_, name)| shown(name, secrets).is_none())
    }

    /// Equal but for the version, what is near to whom, and what comes with the secret part.
    #[must_use]
    pub fn same_but_secrets(&self, other: &Self) -> bool {
        self.bare().same_content(&other.bare())
    }

    fn bare(&self) -> Self {
        let mut bare = self.marked(SecretMark::default());
        for tls in bare.pools.values_mut().filter_map(|pool| pool.tls.as_mut()) {
            tls.client_certificate = None;
        }
        bare
    }
}

fn shown(name: &str, secrets: &Secrets) -> Option<ClientCertificate> {
    let host: Host = name.parse().ok()?;
    let found = secrets.certificates.iter().find(|certificate| certificate.hosts.contains(&host))?;
    Some(ClientCertificate { chain_pem: found.chain_pem.clone(), key_pem: found.key_pem.clone() })
}

#[cfg(test)]
mod tests {
    use crate::certificate::{Certificate, SecretText};
    use crate::table::Pool;
    use crate::upstream::UpstreamTls;

    use super::*;

    fn pool(name: &str) -> Pool {
        let tls = UpstreamTls { client_certificate: Some(name.into()), ..UpstreamTls::default() };
        Pool { tls: Some(tls), ..Pool::default() }
    }

    fn table() -> Table {
        let pools = [("a", pool("lb.example.com")), ("b", pool("gone.example.com")), ("c", Pool::default())];
        let pools = pools.into_iter().map(|(id, pool)| (PoolId(id.to_owned()), pool)).collect();
        Table { schema: 1, pools, ..Table::default() }
    }

    fn secrets(mark: &str) -> Secrets {
        let made = rcgen::generate_simple_self_signed(vec!["lb.example.com".to_owned()]).unwrap();
        let own = Certificate {
            hosts: vec!["lb.example.com".parse().unwrap()],
            chain_pem: made.cert.pem(),
            key_pem: SecretText(made.signing_key.serialize_pem()),
        };
        Secrets { mark: SecretMark(mark.to_owned()), certificates: vec![own], ..Secrets::default() }
    }

    #[test]
    fn a_pool_shows_the_certificate_of_the_host_that_it_names_or_none() {
        let secrets = secrets("m");
        let joined = table().joined(&secrets);
        assert_eq!(joined.validate(), Ok(()));
        assert_eq!(joined.secret.client_certificates.len(), 1);
        let chain = &secrets.certificates[0].chain_pem;
        assert_eq!(joined.secret.client_certificates["lb.example.com"].chain_pem, *chain);
        let tls = |id: &str| joined.pools[&PoolId(id.to_owned())].tls.clone();
        assert_eq!(tls("a").unwrap().client_certificate.as_deref(), Some("lb.example.com"));
        assert_eq!(tls("b"), Some(UpstreamTls::default()));
        assert_eq!(tls("c"), None);
        let table = table();
        let lacking: Vec<_> = table.lacking(&secrets).collect();
        assert_eq!(lacking, [(&PoolId("b".to_owned()), "gone.example.com")]);
    }

    #[test]
    fn what_is_published_names_its_secret_part_and_has_users_alone() {
        let users = [("staff".into(), [("ann".into(), SecretText("$2y$…".to_owned()))].into())].into();
        let secret = Secrets { users, ..secrets("of another one") };
        let whole = Table { secret, locality: Some("main".to_owned()), ..table() };
        let mark = SecretMark("m".to_owned());
        let published = whole.marked(mark.clone());
        assert_eq!((&published.secret.mark, &published.secret.users), (&mark, &whole.secret.users));
        assert!(published.secret.certificates.is_empty() && published.locality.is_none());
        assert_eq!(published.pools, whole.pools, "what pools are to show stays named");
        let joined = published.joined(&secrets("n"));
        assert_eq!(joined.secret.users, whole.secret.users);
        assert_eq!(joined.secret.mark.0, "n", "it says which one it has");
    }

    #[test]
    fn tables_are_told_apart_by_their_secret_part_or_by_all_else() {
        let (one, other) = (secrets("1"), Secrets { mark: SecretMark("2".to_owned()), ..Secrets::default() });
        let (first, second) = (table().joined(&one), table().joined(&other));
        assert!(first.same_but_secrets(&second) && !first.same_content(&second));
        let longer = Table { pools: [(PoolId("d".to_owned()), Pool::default())].into(), ..table() };
        assert!(!first.same_but_secrets(&longer.joined(&one)));
    }
}
