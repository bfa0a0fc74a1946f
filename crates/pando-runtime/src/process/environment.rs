//! The environment of a run.

use std::collections::BTreeMap;

use super::account::Account;

/// Debian's, with the administrator's own programs first.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `given` with what is missing of `PATH`, `HOME`, `USER`, `LANG` and `TZ`: from `defaults`, else from the system. What
/// belongs to a person (`HOME`, `USER`) is not taken from `defaults` when the run becomes another `user`.
pub(super) fn complete(
    given: &BTreeMap<String, String>,
    defaults: &BTreeMap<String, String>,
    user: Option<&Account>,
    becomes_another: bool,
) -> BTreeMap<String, String> {
    // The same on every server of a cluster, whatever its image was set to.
    let mut system = vec![("PATH", PATH), ("LANG", "C.UTF-8"), ("TZ", "UTC")];
    if let Some(user) = user {
        system.extend([("HOME", user.home.as_str()), ("USER", user.name.as_str())]);
    }
    let mut env = given.clone();
    for (name, value) in system {
        let personal = matches!(name, "HOME" | "USER");
        let default = defaults.get(name).filter(|_| !(personal && becomes_another));
        env.entry(name.to_owned()).or_insert_with(|| default.cloned().unwrap_or_else(|| value.to_owned()));
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn what_is_given_stays_and_what_is_missing_comes() {
        let user =
            Account { name: "pando-shop".to_owned(), uid: 990, gid: 990, home: "/nonexistent".to_owned() };
        let given = map(&[("TZ", "Europe/Paris"), ("A", "b")]);
        let defaults = map(&[("PATH", "/opt/bin"), ("HOME", "/home/ada"), ("EDITOR", "ed")]);
        let expected = [("A", "b"), ("LANG", "C.UTF-8"), ("PATH", "/opt/bin"), ("TZ", "Europe/Paris")];
        let mut other = map(&expected);
        other.extend(map(&[("HOME", "/nonexistent"), ("USER", "pando-shop")]));
        assert_eq!(complete(&given, &defaults, Some(&user), true), other);
        let mut same = map(&expected);
        same.extend(map(&[("HOME", "/home/ada"), ("USER", "pando-shop")]));
        assert_eq!(complete(&given, &defaults, Some(&user), false), same);
        assert_eq!(complete(&map(&[]), &map(&[]), None, false)["PATH"], PATH);
    }
}
