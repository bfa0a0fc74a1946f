//! Values by host, found as rules are: an exact host beats a wildcard, the longer wildcard beats the shorter, any beats `*`.

use pando_routing::{Host, NameMap};

/// Nothing is allocated to find one.
#[derive(Debug)]
pub(crate) struct HostMap<T> {
    exact: NameMap<T>,
    /// By what follows `*.`.
    wildcard: NameMap<T>,
    any: Option<T>,
}

impl<T> HostMap<T> {
    /// For a host that is normalised.
    pub(crate) fn find(&self, host: &[u8]) -> Option<&T> {
        let exact = self.exact.get(host);
        exact.or_else(|| self.find_wildcard(host)).or(self.any.as_ref())
    }

    fn find_wildcard(&self, host: &[u8]) -> Option<&T> {
        if self.wildcard.is_empty() {
            return None;
        }
        let dots = host.iter().enumerate().filter(|(_, byte)| **byte == b'.');
        dots.map(|(dot, _)| &host[dot + 1..]).find_map(|parent| self.wildcard.get(parent))
    }
}

impl<T> FromIterator<(Host, T)> for HostMap<T> {
    fn from_iter<I: IntoIterator<Item = (Host, T)>>(values: I) -> Self {
        let mut map = Self { exact: NameMap::default(), wildcard: NameMap::default(), any: None };
        for (host, value) in values {
            match host {
                Host::Exact(name) => drop(map.exact.insert(name.into_bytes().into(), value)),
                Host::Wildcard(parent) => drop(map.wildcard.insert(parent.into_bytes().into(), value)),
                Host::Any => map.any = Some(value),
            }
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(hosts: &[&str]) -> HostMap<String> {
        hosts.iter().map(|host| (host.parse().unwrap(), (*host).to_owned())).collect()
    }

    #[test]
    fn the_most_exact_host_wins() {
        let hosts = map(&["*", "*.example", "*.b.example", "a.example"]);
        for (host, found) in [
            ("a.example", "a.example"),
            ("x.example", "*.example"),
            ("x.b.example", "*.b.example"),
            ("b.example", "*.example"),
            ("example", "*"),
            ("", "*"),
        ] {
            assert_eq!(hosts.find(host.as_bytes()).unwrap(), found, "{host}");
        }
        assert_eq!(map(&["a.example"]).find(b"b.example"), None);
        assert_eq!(map(&[]).find(b"b.example"), None);
    }
}
