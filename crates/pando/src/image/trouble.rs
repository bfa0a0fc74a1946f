//! What can go wrong on this machine.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use pando_image::archive::ArchiveError;
use pando_image::engine::{EngineError, SaveError};
use pando_image::image::ImageError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageTrouble {
    #[error("there is no image `{0}` in this machine's container engine; build or pull it first")]
    Missing(String),
    #[error("{found}{}", remedy(found))]
    Engine { found: EngineError },
    #[error(
        "{whose} `{host}`, and an image is built and sent by an engine of this machine, at a Unix socket; set `DOCKER_HOST=unix:///var/run/docker.sock`, or where yours listens"
    )]
    Elsewhere { whose: String, host: String },
    #[error("there is no context `{0}` in Docker's settings; `docker context ls` lists those that there are")]
    NoContextOfDocker(String),
    #[error("can't use Docker's settings in `{}`", path.display())]
    Context { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(
        "there is no directory `{0}` to build from; `build.context` is relative to the file that names it"
    )]
    NoContext(String),
    #[error("there is no file `{0}` to build by; `build.dockerfile` is relative to `build.context`")]
    NoDockerfile(String),
    #[error(
        "`{keys}` has the keys of the cluster that `pando dev` keeps there, and would go into the build; add the line `{keys}` to `{file}`"
    )]
    Keys { keys: String, file: String },
    #[error(
        "the `docker` command is needed to build an image, and is not there; install it, or build elsewhere and name the image"
    )]
    NoBuilder,
    #[error("can't run the `docker` command")]
    Builder(#[source] io::Error),
    #[error("`{dockerfile}` could not be built ({status}); what the builder said is above")]
    NotBuilt { dockerfile: String, status: ExitStatus },
    #[error("one image is built for all servers, but {0}; give each platform a role and an app of its own")]
    Platforms(String),
}

/// On this machine an engine can be started, or another one named.
fn remedy(error: &EngineError) -> &'static str {
    match error {
        EngineError::Away { .. } => {
            "; start it, as by `systemctl start docker`, or name another one by `DOCKER_HOST` or `docker context use`"
        }
        _ => "",
    }
}

impl From<EngineError> for ImageTrouble {
    fn from(error: EngineError) -> Self {
        Self::Engine { found: error }
    }
}

impl From<SaveError> for ImageTrouble {
    fn from(error: SaveError) -> Self {
        match error {
            SaveError::Engine(error) => error.into(),
            SaveError::Archive(error) => error.into(),
        }
    }
}
