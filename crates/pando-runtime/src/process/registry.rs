//! What the process runtime knows and shares between calls.

use std::io;

use pando_model::resources::Resources;
use pando_rt::shutdown::Shutdown;
use tokio::sync::mpsc;

use super::ProcessSettings;
use crate::book::{Book, make_private};
use crate::cgroup::{Cgroups, RunGroup};
use crate::live::LiveCommands;
use crate::logs::LogStore;
use crate::run::{RunEvent, RuntimeError};

#[derive(Debug)]
pub(super) struct Registry {
    pub(super) settings: ProcessSettings,
    pub(super) cgroups: Cgroups,
    pub(super) boot: String,
    pub(super) book: Book,
    /// Those with cgroups of their own.
    pub(super) commands: LiveCommands,
}

impl Registry {
    pub(super) fn open(
        settings: ProcessSettings,
        shutdown: &Shutdown,
    ) -> Result<(Self, mpsc::Receiver<RunEvent>), RuntimeError> {
        make_private(&settings.state_dir.join("logs"))?;
        make_private(&settings.state_dir.join("commands"))?;
        let (book, receiver) = Book::open(settings.state_dir.join("runs"), shutdown)?;
        let cgroups =
            if settings.use_cgroups { Cgroups::find() } else { Cgroups::none("cgroups are turned off") };
        Ok((
            Self { settings, cgroups, boot: crate::proc::boot_id(), book, commands: LiveCommands::default() },
            receiver,
        ))
    }

    /// Says once what of `resources` can't be limited on this machine.
    pub(super) fn warn_of_limits(&self, resources: &Resources) {
        if let Some(warning) = self.cgroups.warning(resources) {
            self.book.warn(warning);
        }
    }

    /// Without permission, what was to be limited runs unlimited, and the warnings say so.
    pub(super) fn unlimited(&self, error: &io::Error) -> Vec<RunGroup> {
        self.book.warn(format!("some limits are not enforced: the kernel refused one: {error}"));
        Vec::new()
    }

    pub(super) fn logs(&self) -> LogStore {
        LogStore::new(self.settings.state_dir.join("logs"), self.settings.log)
    }
}
