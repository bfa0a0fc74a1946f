//! What the runtime of containers knows and shares between calls.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions, RemoveContainerOptions};
use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use pando_rt::shutdown::Shutdown;
use tokio::sync::mpsc;

use super::engine::{Engine, EngineError};
use super::pins::Pins;
use super::record::Records;
use super::{DockerSettings, name};
use crate::book::{Book, failed, make_private};
use crate::live::LiveCommands;
use crate::logs::LogStore;
use crate::run::{RunEvent, RunKey, RuntimeError};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: DockerSettings,
    pub(super) engine: Engine,
    /// Of everything that is made here.
    pub(super) owner: String,
    pub(super) book: Book,
    /// What an earlier run of this program left was looked for once.
    pub(super) adopted: AtomicBool,
    /// Commands that have, or are about to have, a container of their own.
    pub(super) commands: LiveCommands,
    pub(super) pins: Pins,
    clock: Clock,
}

impl Shared {
    pub(super) fn open(
        settings: DockerSettings,
        shutdown: &Shutdown,
    ) -> Result<(Self, mpsc::Receiver<RunEvent>), RuntimeError> {
        let runs = settings.state_dir.join("containers");
        make_private(&settings.state_dir.join("logs"))?;
        let (book, receiver) = Book::open(runs.clone(), shutdown)?;
        let owner = name::owner(&runs).map_err(failed(format!("read `{}`", runs.join("owner").display())))?;
        let engine = settings.engine.clone();
        Ok((
            Self {
                settings,
                engine,
                owner,
                book,
                adopted: AtomicBool::new(false),
                commands: LiveCommands::default(),
                pins: Pins::default(),
                clock: Clock::system(),
            },
            receiver,
        ))
    }

    pub(super) fn whose(&self) -> name::Whose<'_> {
        name::Whose { owner: &self.owner, cluster: &self.settings.cluster }
    }

    pub(super) fn logs(&self) -> LogStore {
        LogStore::new(self.settings.state_dir.join("logs"), self.settings.log)
    }

    pub(super) fn records(&self, key: RunKey) -> Records {
        Records(self.book.dir(key))
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.now_millis())
    }

    /// What the engine says of the run's container: that of the name or id, or, where there is none or it is somebody else's, the one
    /// that carries the run's label. People rename containers; labels stay.
    pub(super) async fn inspect(
        &self,
        key: RunKey,
        container: &str,
    ) -> Result<Option<ContainerInspectResponse>, EngineError> {
        if let Some(found) = self.inspect_named(key, container).await? {
            return Ok(Some(found));
        }
        let labelled = self.list(&format!("{}={}", name::RUN, name::run(key))).await?;
        match labelled.first() {
            Some((id, _)) => self.inspect_named(key, id).await,
            None => Ok(None),
        }
    }

    /// The engine's id of the run's container; `container`, its name, where there is none any more.
    pub(super) async fn id_of(&self, key: RunKey, container: &str) -> Result<String, EngineError> {
        let found = self.inspect(key, container).await?;
        Ok(found.and_then(|found| found.id).unwrap_or_else(|| container.to_owned()))
    }

    async fn inspect_named(
        &self,
        key: RunKey,
        container: &str,
    ) -> Result<Option<ContainerInspectResponse>, EngineError> {
        let name = container.to_owned();
        let asked = self.engine.call(|docker| async move {
            docker.inspect_container(&name, None::<InspectContainerOptions>).await
        });
        match asked.await {
            Ok(found) => {
                let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
                Ok((name::run_of(labels, &self.owner) == Some(key)).then_some(found))
            }
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The ids of this state directory's containers that carry `label`, each with its labels.
    pub(super) async fn list(
        &self,
        label: &str,
    ) -> Result<Vec<(String, HashMap<String, String>)>, EngineError> {
        let labels = vec![format!("{}={}", name::OWNER, self.owner), label.to_owned()];
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), labels)])),
            ..ListContainersOptions::default()
        };
        let found = self.engine.call(|docker| async move { docker.list_containers(Some(options)).await });
        let each = found.await?.into_iter();
        Ok(each.filter_map(|one| Some((one.id?, one.labels.unwrap_or_default()))).collect())
    }

    /// Removes a container, with the volumes that have no name; whatever runs in it is killed. One that isn't there is left so.
    pub(super) async fn remove(&self, container: &str) -> Result<(), EngineError> {
        let name = container.to_owned();
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        let removed =
            self.engine.call(|docker| async move { docker.remove_container(&name, Some(options)).await });
        match removed.await {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.book.warnings();
        if let Some(why) = self.engine.away().filter(|_| !self.book.keys().is_empty()) {
            warnings.push(format!(
                "the container engine can't be reached at `{}`: {why}; how the containers of this server fare is not known until it \
                 can",
                self.engine.socket().display()
            ));
        }
        warnings
    }
}

/// The error of having tried `what` at the engine.
pub(super) fn engine_failed(what: impl Into<String>) -> impl FnOnce(EngineError) -> RuntimeError {
    let what = what.into();
    move |source| RuntimeError::Io { what, source: std::io::Error::other(source) }
}
