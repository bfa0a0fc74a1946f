//! Pulling images from registries, and what stood in the way in words that say what to do.

use std::fmt;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use pando_model::registry::RegistryHost;

use super::engine::{Engine, EngineError, PATIENCE};

/// A registry that sends nothing for so long has gone to sleep. The pull as a whole may take as long as the image is large.
const SILENCE: Duration = Duration::from_secs(120);

/// Who is asking a registry. Prints no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Why an image is not there.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error("can't pull `{reference}`: {why}")]
    Refused { reference: String, why: String },
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Has the engine pull an image, which it calls by `reference` then.
pub(super) async fn pull(
    engine: &Engine,
    reference: &str,
    credentials: Option<&Credentials>,
) -> Result<(), PullError> {
    let docker = engine.connected().await?.docker.with_timeout(PATIENCE);
    let options = CreateImageOptions { from_image: Some(tagged(reference)), ..CreateImageOptions::default() };
    let shown = credentials.map(|asking| DockerCredentials {
        username: Some(asking.username.clone()),
        password: Some(asking.password.clone()),
        serveraddress: Some(RegistryHost::of_image(reference).to_string()),
        ..DockerCredentials::default()
    });
    let mut told = docker.create_image(Some(options), None, shown);
    let refused = |why: String| PullError::Refused { reference: reference.to_owned(), why };
    let explained = |message: &str| refused(explained(reference, credentials, message));
    loop {
        match tokio::time::timeout(SILENCE, told.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(progress))) => {
                if let Some(detail) = progress.error_detail {
                    return Err(explained(&detail.message.unwrap_or_default()));
                }
            }
            Ok(Some(Err(error))) => {
                return Err(match engine.judge(&error) {
                    EngineError::Refused { message, .. } => explained(&message),
                    error => error.into(),
                });
            }
            Err(_) => return Err(refused(format!("nothing came for {} s", SILENCE.as_secs()))),
        }
    }
}

/// Without a tag, an engine pulls every one.
fn tagged(reference: &str) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    if name.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") }
}

/// What the engine says, and before it what it means. Engines have no codes for this: their words are those of registries and of
/// the network, which have been the same for years.
fn explained(reference: &str, asking: Option<&Credentials>, message: &str) -> String {
    let host = RegistryHost::of_image(reference);
    let message = message.trim();
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    let meant = if says(&["x509:", "tls: ", "server gave HTTP response to HTTPS client"]) {
        format!(
            "the registry {host} and this server's engine do not agree on TLS; give it a certificate that the engine trusts, or name it \
             in `insecure-registries` of /etc/docker/daemon.json"
        )
    } else if says(&[
        "unauthorized",
        "no basic auth",
        "access denied",
        "authentication required",
        "denied:",
        " 401 ",
        " 403 ",
    ]) {
        match asking {
            Some(asking) => format!(
                "the registry {host} refuses the user `{}`, or has no such image; `pando registry login {host}` brings other credentials",
                asking.username
            ),
            None => format!(
                "the registry {host} wants to know who asks, or has no such image; `pando registry login {host}` gives the cluster \
                 credentials for it"
            ),
        }
    } else if says(&["manifest unknown", "not found", "name unknown"]) {
        format!(
            "the registry {host} has no such image or tag; see whether it was pushed, and how `image` is spelled"
        )
    } else if says(&["toomanyrequests", "rate limit"]) {
        format!(
            "the registry {host} gives no more for now; `pando registry login {host}` often raises its limit"
        )
    } else if says(&[
        "dial tcp",
        "no such host",
        "connection refused",
        "timeout",
        "deadline exceeded",
        "EOF",
        "Client.Timeout",
    ]) {
        format!(
            "the registry {host} can't be reached from this server; see that it runs and that the name leads there, then deploy again"
        )
    } else if says(&["no space left"]) {
        "the engine's disk is full; `pando prune` shows what can go".to_owned()
    } else {
        return message.to_owned();
    };
    format!("{meant} (the engine says: {message})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tag_is_pulled_and_not_all() {
        for (reference, pulled) in [
            ("shop", "shop:latest"),
            ("shop:1", "shop:1"),
            ("localhost:5000/shop", "localhost:5000/shop:latest"),
            ("r.example.com/a/shop@sha256:ab", "r.example.com/a/shop@sha256:ab"),
        ] {
            assert_eq!(tagged(reference), pulled);
        }
    }

    /// As engines from 20.10 to 28 and their registries put it.
    #[test]
    fn what_stood_in_the_way_comes_with_what_to_do() {
        let bot = Credentials { username: "bot".to_owned(), password: "hush".to_owned() };
        for (asking, message, word) in [
            (
                None,
                "Get \"https://r.example/v2/shop/manifests/1\": no basic auth credentials",
                "login r.example` gives",
            ),
            (
                None,
                "pull access denied for shop, repository does not exist or may require 'docker login'",
                "wants to know",
            ),
            (
                Some(&bot),
                "Head \"https://r.example/v2/shop/manifests/1\": unauthorized: authentication required",
                "user `bot`",
            ),
            (
                None,
                "manifest for r.example/shop:9 not found: manifest unknown: manifest unknown",
                "no such image or tag",
            ),
            (
                None,
                "Get \"https://r.example/v2/\": dial tcp 10.0.0.5:443: connect: connection refused",
                "can't be reached",
            ),
            (
                None,
                "Get \"https://r.example/v2/\": dial tcp: lookup r.example: no such host",
                "can't be reached",
            ),
            (
                None,
                "Get \"https://r.example/v2/\": x509: certificate signed by unknown authority",
                "insecure-registries",
            ),
            (None, "toomanyrequests: You have reached your pull rate limit.", "no more for now"),
            (None, "write /var/lib/docker/x: no space left on device", "pando prune"),
        ] {
            let told = explained("r.example/shop:1", asking, message);
            assert!(told.contains(word) && told.contains(message), "{told}");
            assert!(!told.contains("hush"), "{told}");
        }
        assert_eq!(explained("shop", None, "something else"), "something else");
        assert!(!format!("{bot:?}").contains("hush"));
    }
}
