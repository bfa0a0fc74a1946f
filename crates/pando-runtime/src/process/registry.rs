//! What the process runtime knows and shares between calls.

use pando_rt::shutdown::Shutdown;
use tokio::sync::mpsc;

use super::ProcessSettings;
use crate::book::{Book, make_private};
use crate::cgroup::Cgroups;
use crate::logs::LogStore;
use crate::run::{RunEvent, RuntimeError};

#[derive(Debug)]
pub(super) struct Registry {
    pub(super) settings: ProcessSettings,
    pub(super) cgroups: Cgroups,
    pub(super) boot: String,
    pub(super) book: Book,
}

impl Registry {
    pub(super) fn open(
        settings: ProcessSettings,
        shutdown: &Shutdown,
    ) -> Result<(Self, mpsc::Receiver<RunEvent>), RuntimeError> {
        make_private(&settings.state_dir.join("logs"))?;
        let (book, receiver) = Book::open(settings.state_dir.join("runs"), shutdown)?;
        let cgroups =
            if settings.use_cgroups { Cgroups::find() } else { Cgroups::none("cgroups are turned off") };
        Ok((Self { settings, cgroups, boot: crate::proc::boot_id(), book }, receiver))
    }

    pub(super) fn logs(&self) -> LogStore {
        LogStore::new(self.settings.state_dir.join("logs"), self.settings.log)
    }
}
