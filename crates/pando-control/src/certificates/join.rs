//! A table as proxies get it: with what is sealed in the store.

use std::sync::Arc;

use pando_routing::{ClientCertificate, Host, Secrets, Table};

/// Users come with the specifications that name them, all else is `secrets`. What a pool shows to its endpoints is the certificate
/// that serves the host which it names; a pool whose certificate is not there shows none, since a table that names what it doesn't
/// have would be refused as a whole.
#[must_use]
pub fn join(table: &Table, secrets: &Secrets) -> Table {
    let mut joined = table.clone();
    joined.secret = Secrets { users: table.secret.users.clone(), ..secrets.clone() };
    for (id, pool) in &mut joined.pools {
        let Some(tls) = &mut pool.tls else { continue };
        let Some(name) = tls.client_certificate.take() else { continue };
        match shown(&name, secrets) {
            Some(certificate) => {
                joined.secret.client_certificates.insert(Arc::clone(&name), certificate);
                tls.client_certificate = Some(name);
            }
            None => tracing::warn!(
                pool = %id,
                certificate = %name,
                "there is no certificate for that host to show to replicas; `pando cert import` brings one"
            ),
        }
    }
    joined
}

fn shown(name: &str, secrets: &Secrets) -> Option<ClientCertificate> {
    let host: Host = name.parse().ok()?;
    let found = secrets.certificates.iter().find(|certificate| certificate.hosts.contains(&host))?;
    Some(ClientCertificate { chain_pem: found.chain_pem.clone(), key_pem: found.key_pem.clone() })
}

#[cfg(test)]
mod tests {
    use pando_routing::{Certificate, Pool, PoolId, SecretText, UpstreamTls};

    use super::*;

    #[test]
    fn a_pool_shows_the_certificate_of_the_host_that_it_names_or_none() {
        let made = rcgen::generate_simple_self_signed(vec!["lb.example.com".to_owned()]).unwrap();
        let own = Certificate {
            hosts: vec!["lb.example.com".parse().unwrap()],
            chain_pem: made.cert.pem(),
            key_pem: SecretText(made.signing_key.serialize_pem()),
        };
        let secrets = Secrets { certificates: vec![own.clone()], ..Secrets::default() };
        let pool = |name: &str| {
            let tls = UpstreamTls { client_certificate: Some(name.into()), ..UpstreamTls::default() };
            Pool { tls: Some(tls), ..Pool::default() }
        };
        let pools = [("a", pool("lb.example.com")), ("b", pool("gone.example.com")), ("c", Pool::default())];
        let pools = pools.into_iter().map(|(id, pool)| (PoolId(id.to_owned()), pool)).collect();
        let table = Table { schema: 1, pools, ..Table::default() };
        let joined = join(&table, &secrets);
        assert_eq!(joined.validate(), Ok(()));
        assert_eq!(joined.secret.client_certificates.len(), 1);
        assert_eq!(joined.secret.client_certificates["lb.example.com"].chain_pem, own.chain_pem);
        let tls = |id: &str| joined.pools[&PoolId(id.to_owned())].tls.clone();
        assert_eq!(tls("a").unwrap().client_certificate.as_deref(), Some("lb.example.com"));
        assert_eq!(tls("b"), Some(UpstreamTls::default()));
        assert_eq!(tls("c"), None);
    }
}
