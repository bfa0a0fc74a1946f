//! The engine of containers on this machine, as far as images go; over its Unix socket.
//!
//! Nothing here believes that an engine answers: each question has a deadline, and
//! each transfer is given up when it stands still.

mod load;
mod save;
mod transfer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ImageInspect;
use bollard::query_parameters::{
    ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use pando_model::release::Digest;

use crate::image::{Platform, bare_digest};

pub use load::LoadError;
pub use save::{SaveError, save};

/// Where engines listen unless somebody moved them.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// For an answer that needs no work. An engine that starts takes some seconds.
const QUICK: Duration = Duration::from_secs(30);

/// Until an engine begins to send an image, which it writes to its own disk first, or is done with one that it was sent.
const LONG: Duration = Duration::from_secs(3600);

/// Images that are looked at for layers in common. Servers have a few dozen.
const LOOKED_AT: usize = 500;

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(
        "the container engine can't be reached at `{}`: {why}; start it (`systemctl start docker`), or say where it listens: \
         `DOCKER_HOST=unix:///…`",
        socket.display()
    )]
    Away { socket: PathBuf, why: String },
    #[error("may not use the container engine at `{}`; join the group that its socket belongs to, such as `docker`", socket.display())]
    Forbidden { socket: PathBuf },
    #[error("the container engine did not answer within {} s", after.as_secs())]
    Slow { after: Duration },
    #[error("the container engine refused to {what}: {message}")]
    Refused { what: &'static str, message: String },
    #[error("the container engine said something that is not understood: {0}")]
    Strange(String),
}

/// What is where in an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub platform: Platform,
    /// Layers are kept by containerd, not by a storage driver of the engine's own.
    pub containerd_store: bool,
    /// On the engine's machine, which may be another.
    pub root: Option<PathBuf>,
}

/// An image in an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// As the engine calls it: the digest of its configuration, with containerd's store that of its manifest or index.
    pub id: Digest,
    pub platform: Platform,
    /// Its layers, the lowest first.
    pub diff_ids: Vec<Digest>,
    /// Unpacked, as the engine tells it.
    pub bytes: u64,
    /// What it declares by `VOLUME`.
    pub volumes: Vec<String>,
}

/// A connection, or rather the way to one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    socket: PathBuf,
}

impl Engine {
    /// Connects and agrees on a version.
    ///
    /// # Errors
    /// When nobody answers there, or not to us.
    pub async fn connect(socket: &Path) -> Result<Self, EngineError> {
        let away = |error: Error| away(socket, error);
        let path = socket.to_string_lossy();
        let docker = Docker::connect_with_unix(&path, QUICK.as_secs(), bollard::API_DEFAULT_VERSION);
        let docker = docker.map_err(away)?.negotiate_version().await.map_err(away)?;
        Ok(Self { docker, socket: socket.to_owned() })
    }

    /// For what takes its time.
    fn patient(&self) -> Docker {
        self.docker.clone().with_timeout(LONG)
    }

    /// # Errors
    /// As of every question: see [`EngineError`].
    pub async fn about(&self) -> Result<About, EngineError> {
        let info = self.docker.info().await.map_err(|error| self.failed("tell about itself", error))?;
        let status = info.driver_status.unwrap_or_default().concat();
        Ok(About {
            platform: Platform::of_machine(&info.architecture.unwrap_or_default()),
            containerd_store: status.iter().any(|word| word.starts_with("io.containerd.snapshotter")),
            root: info.docker_root_dir.map(PathBuf::from),
        })
    }

    /// The image of that name or id; `None` when there is none.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn inspect(&self, reference: &str) -> Result<Option<Inspected>, EngineError> {
        match self.docker.inspect_image(reference).await {
            Ok(found) => inspected(found).map(Some).map_err(EngineError::Strange),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(self.failed("look up an image", error)),
        }
    }

    /// How many of these layers, from the lowest on, some image of the engine has in this order: those it need not be sent.
    /// With containerd's store none, since its archives are to be whole.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn layers_in_common(&self, diff_ids: &[Digest]) -> Result<usize, EngineError> {
        if self.about().await?.containerd_store {
            return Ok(0);
        }
        let options = ListImagesOptionsBuilder::default().all(true).build();
        let listed = self.docker.list_images(Some(options)).await;
        let listed = listed.map_err(|error| self.failed("list its images", error))?;
        let mut most = 0;
        for image in listed.iter().take(LOOKED_AT) {
            // One that was removed meanwhile, or is not understood, has nothing in common.
            let Ok(Some(found)) = self.inspect(&image.id).await else { continue };
            let common = found.diff_ids.iter().zip(diff_ids).take_while(|(one, other)| one == other).count();
            most = most.max(common);
            if most == diff_ids.len() {
                break;
            }
        }
        Ok(most)
    }

    /// Gives an image a name, in place of what had it.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn tag(&self, image: &str, name: &str) -> Result<(), EngineError> {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        let tagged = self.docker.tag_image(image, Some(options)).await;
        tagged.map_err(|error| self.failed("name an image", error))
    }

    /// Takes the name away, and removes the image when that was its last and no container uses it. One that is not there is
    /// removed already.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn untag(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptionsBuilder::default().force(false).noprune(false).build();
        match self.patient().remove_image(name, Some(options), None).await {
            Ok(_) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => Err(self.failed("remove an image", error)),
        }
    }

    fn failed(&self, what: &'static str, error: Error) -> EngineError {
        match error {
            Error::DockerResponseServerError { message, .. }
            | Error::DockerStreamError { error: message } => EngineError::Refused { what, message },
            Error::JsonDataError { message, .. } => EngineError::Strange(message),
            other => away(&self.socket, other),
        }
    }
}

fn away(socket: &Path, error: Error) -> EngineError {
    let socket = socket.to_owned();
    if matches!(error, Error::RequestTimeoutError) {
        return EngineError::Slow { after: QUICK };
    }
    let mut deepest: &(dyn std::error::Error + 'static) = &error;
    loop {
        let io = deepest.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied) {
            return EngineError::Forbidden { socket };
        }
        match deepest.source() {
            Some(source) => deepest = source,
            // Above it, the client's libraries tell of themselves.
            None => return EngineError::Away { why: deepest.to_string(), socket },
        }
    }
}

fn inspected(found: ImageInspect) -> Result<Inspected, String> {
    let id = bare_digest(&found.id.unwrap_or_default())?;
    let layers = found.root_fs.and_then(|root| root.layers).unwrap_or_default();
    let diff_ids: Result<_, String> = layers.iter().map(|layer| bare_digest(layer)).collect();
    let platform = Platform {
        os: found.os.unwrap_or_default(),
        architecture: found.architecture.unwrap_or_default(),
        variant: found.variant.filter(|variant| !variant.is_empty()),
    };
    let bytes = u64::try_from(found.size.unwrap_or_default()).unwrap_or(0);
    let volumes = found.config.and_then(|config| config.volumes).unwrap_or_default();
    Ok(Inspected { id, platform, diff_ids: diff_ids?, bytes, volumes })
}
