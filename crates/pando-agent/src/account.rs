//! The system user of an app: whose its files are, and as whom its replicas, checks and commands run.

use pando_model::name::AppName;
use pando_runtime::account::LONGEST_NAME;
use sha2::{Digest, Sha256};

/// Whom the load balancer runs as: an app named `proxy` must not own its socket.
const LOAD_BALANCER: &str = "pando-proxy";

/// Digits of the digest that tells apart what would else have one name.
const DIGITS: usize = 12;

/// `pando-APP`. A long name is cut, and told from others by a digest; so is one that would be another's: that of the load
/// balancer's own user, or one that looks as if it were cut.
pub(crate) fn user_of(app: &AppName) -> String {
    let whole = format!("pando-{app}");
    if whole.len() <= LONGEST_NAME && whole != LOAD_BALANCER && !looks_cut(&whole) {
        return whole;
    }
    let digest = hex::encode(Sha256::digest(app.as_str().as_bytes()));
    let kept = whole.len().min(LONGEST_NAME - DIGITS - 1);
    format!("{}-{}", &whole[..kept], &digest[..DIGITS])
}

fn looks_cut(name: &str) -> bool {
    name.rsplit_once('-')
        .is_some_and(|(_, end)| end.len() == DIGITS && end.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(app: &str) -> String {
        user_of(&AppName::new(app).unwrap())
    }

    #[test]
    fn user_names_fit_useradd_and_differ() {
        assert_eq!(user("hits"), "pando-hits");
        let (long, other) = (user(&"a".repeat(63)), user(&"a".repeat(62)));
        assert!(long.len() == 32 && other.len() == 32 && long != other, "{long} {other}");
    }

    #[test]
    fn no_app_becomes_the_load_balancer_or_another_app() {
        let proxy = user("proxy");
        assert!(proxy != "pando-proxy" && proxy.len() <= 32, "{proxy}");
        let long = user(&"a".repeat(63));
        for taken in [&proxy, &long] {
            let posing = taken.strip_prefix("pando-").unwrap();
            assert_ne!(&user(posing), taken);
        }
    }
}
