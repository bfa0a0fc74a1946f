//! Images of the engine: whether they are there and can run, what they say of themselves, and what they are called.

use std::collections::BTreeSet;

use bollard::models::{HealthConfig, ImageInspect};
use bollard::query_parameters::{RemoveImageOptions, TagImageOptions};
use pando_model::app::VolumeSpec;
use pando_model::time::Millis;

use super::engine::{Engine, EngineError};
use super::pins::{self, Pins};

/// Each report tells them of each replica. Images declare one or two.
const MOST_UNMOUNTED: usize = 16;

/// What an image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// `sha256:…`: of this image and no other.
    pub id: String,
    /// As Go names it, such as `amd64`.
    pub architecture: String,
    /// Its `HEALTHCHECK`. `None`: it has none, or turned it off.
    pub health: Option<ImageHealthCheck>,
    /// What it declares by `VOLUME`.
    pub volumes: Vec<String>,
    /// The digests of its layers' tars, the lowest first.
    pub layers: Vec<String>,
}

impl ImageFacts {
    /// Of what it declares by `VOLUME`, that at which none of `mounted` is: the engine gives each container an empty volume there, which
    /// goes with it. In order, and no more than [`MOST_UNMOUNTED`].
    pub(super) fn unmounted(&self, mounted: &[VolumeSpec]) -> Vec<String> {
        fn bare(path: &str) -> &str {
            path.trim_end_matches('/')
        }
        let is_mounted = |path: &str| mounted.iter().any(|volume| bare(&volume.target) == path);
        let paths = self.volumes.iter().map(|path| bare(path)).filter(|path| !is_mounted(path));
        let left: BTreeSet<&str> = paths.collect();
        left.into_iter().take(MOST_UNMOUNTED).map(str::to_owned).collect()
    }
}

/// An image's `HEALTHCHECK`, with the defaults that the engine would use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageHealthCheck {
    /// Program and arguments, to be run in the container.
    pub command: Vec<String>,
    pub interval: Millis,
    pub timeout: Millis,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Failures before this is over don't count. 0: they do.
    pub start_period: Millis,
}

pub(super) async fn facts(engine: &Engine, reference: &str) -> Result<ImageFacts, EngineError> {
    let named = reference.to_owned();
    let found = engine.call(|docker| async move { docker.inspect_image(&named).await }).await?;
    Ok(read(found))
}

fn read(found: ImageInspect) -> ImageFacts {
    let config = found.config.unwrap_or_default();
    ImageFacts {
        id: found.id.unwrap_or_default(),
        architecture: found.architecture.unwrap_or_default(),
        health: config.healthcheck.and_then(health_check),
        volumes: config.volumes.unwrap_or_default(),
        layers: found.root_fs.and_then(|root| root.layers).unwrap_or_default(),
    }
}

/// The first word says how the rest is meant.
fn health_check(config: HealthConfig) -> Option<ImageHealthCheck> {
    let test = config.test?;
    let (how, rest) = test.split_first()?;
    let command = match how.as_str() {
        "CMD" => rest.to_vec(),
        "CMD-SHELL" => ["/bin/sh", "-c", &rest.join(" ")].map(str::to_owned).to_vec(),
        _ => return None,
    };
    // Nanoseconds; 0 is the engine's default.
    let time = |nanos: Option<i64>, default: u64| match nanos {
        Some(nanos) if nanos > 0 => Millis(u64::try_from(nanos / 1_000_000).unwrap_or(default).max(1)),
        _ => Millis(default),
    };
    let retries =
        config.retries.and_then(|retries| u32::try_from(retries).ok()).filter(|retries| *retries > 0);
    (!command.is_empty()).then(|| ImageHealthCheck {
        command,
        interval: time(config.interval, 30_000),
        timeout: time(config.timeout, 30_000),
        retries: retries.unwrap_or(3),
        start_period: time(config.start_period, 0),
    })
}

/// What the image says of itself, if the engine has it, it is the one that was [pinned](Pins), and its programs are this machine's. The
/// error says what is wrong with it.
pub(super) async fn can_run(
    engine: &Engine,
    pins: &Pins,
    reference: &str,
) -> Result<ImageFacts, EngineError> {
    let facts = pins::facts(engine, pins, reference).await?;
    let here = engine.connected().await?.architecture;
    let foreign = !facts.architecture.is_empty() && !here.is_empty() && facts.architecture != here;
    if foreign && !is_emulated(&facts.architecture) {
        let message = format!(
            "the image `{reference}` is for {}, and this server is {here}: build it for `linux/{here}`",
            facts.architecture
        );
        return Err(EngineError::Refused { status: 400, message });
    }
    Ok(facts)
}

/// Whether the kernel knows an interpreter for programs of that architecture.
fn is_emulated(architecture: &str) -> bool {
    let name = match architecture {
        "amd64" => "x86_64",
        "386" => "i386",
        "arm64" => "aarch64",
        other => other,
    };
    std::path::Path::new("/proc/sys/fs/binfmt_misc").join(format!("qemu-{name}")).exists()
}

pub(super) async fn name(engine: &Engine, image: &str, name: &str) -> Result<(), EngineError> {
    let (repo, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
    let options = TagImageOptions { repo: Some(repo.to_owned()), tag: Some(tag.to_owned()) };
    let image = image.to_owned();
    engine.call(|docker| async move { docker.tag_image(&image, Some(options)).await }).await
}

pub(super) async fn unname(engine: &Engine, name: &str) -> Result<(), EngineError> {
    let name = name.to_owned();
    let none = None::<RemoveImageOptions>;
    let removed = engine.call(|docker| async move { docker.remove_image(&name, none, None).await });
    match removed.await {
        Err(error) if !error.is_missing() => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Option<ImageHealthCheck> {
        health_check(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn what_an_image_declares_and_nobody_mounts_is_known() {
        let found =
            serde_json::json!({"Id": "sha256:1", "Config": {"Volumes": {"/data": {}, "/var/lib/db/": {}}}});
        let facts = read(serde_json::from_value(found).unwrap());
        let left = |targets: &[&str]| {
            let mounted = targets.iter().map(|target| VolumeSpec {
                source: "v".to_owned(),
                target: (*target).to_owned(),
                read_only: false,
            });
            facts.unmounted(&mounted.collect::<Vec<VolumeSpec>>())
        };
        assert_eq!(left(&[]), ["/data", "/var/lib/db"]);
        assert_eq!(left(&["/data/", "/var/lib"]), ["/var/lib/db"]);
        assert_eq!(left(&["/data", "/var/lib/db"]), [""; 0]);
    }

    #[test]
    fn a_health_check_is_read_with_the_engines_defaults() {
        let shell = check(r#"{"Test": ["CMD-SHELL", "curl -f localhost || exit 1"]}"#).unwrap();
        assert_eq!(shell.command, ["/bin/sh", "-c", "curl -f localhost || exit 1"]);
        assert_eq!((shell.interval, shell.timeout, shell.retries), (Millis(30_000), Millis(30_000), 3));
        assert_eq!(shell.start_period, Millis::ZERO);
        let own = r#"{"Test": ["CMD", "/bin/up", "-q"], "Interval": 5000000000, "Timeout": 1500000000, "Retries": 7, "StartPeriod": 60000000000}"#;
        let own = check(own).unwrap();
        assert_eq!(own.command, ["/bin/up", "-q"]);
        assert_eq!((own.interval, own.timeout, own.retries), (Millis(5000), Millis(1500), 7));
        assert_eq!(own.start_period, Millis(60_000));
        for none in [r#"{"Test": ["NONE"]}"#, r#"{"Test": []}"#, "{}", r#"{"Test": ["CMD"]}"#] {
            assert_eq!(check(none), None, "{none}");
        }
    }
}
