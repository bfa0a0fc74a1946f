//! Tells a follower when something was written, without looking again and again.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Lines that come close together are read together.
const TOGETHER: Duration = Duration::from_millis(10);

/// Should the kernel have lost count, or the directory have been made anew, a look now and then finds what was missed.
const LOOK_ANYWAY: Duration = Duration::from_secs(1);

/// Where the kernel tells nothing, or there is no directory yet: soon enough for a person.
const LOOK_ALWAYS: Duration = Duration::from_millis(100);

/// A watch on a directory of logs, from its making on.
#[derive(Debug)]
pub(super) struct Watch {
    /// `None`: nothing tells.
    told: Option<AsyncFd<File>>,
}

impl Watch {
    /// Within a Tokio runtime.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of types that change their descriptor; a File never does"
    )]
    pub(super) fn new(directory: &Path) -> Self {
        let told = watched(directory)
            .ok()
            .and_then(|fd| AsyncFd::with_interest(File::from(fd), Interest::READABLE).ok());
        Self { told }
    }

    /// Whether the kernel tells. If not, a later watch may be luckier.
    pub(super) fn tells(&self) -> bool {
        self.told.is_some()
    }

    /// Waits until something was written since the last call, or it is time to look anyway. What is written after this
    /// returned ends the next call. Cancel-safe.
    pub(super) async fn changed(&self) {
        let Some(told) = &self.told else { return tokio::time::sleep(LOOK_ALWAYS).await };
        let Ok(Ok(mut ready)) = tokio::time::timeout(LOOK_ANYWAY, told.readable()).await else { return };
        // Before the events are taken: what comes meanwhile is read as well.
        tokio::time::sleep(TOGETHER).await;
        let mut events = [0; 4096];
        while let Ok(Ok(count)) = ready.try_io(|told| told.get_ref().read(&mut events)) {
            if count == 0 {
                return;
            }
        }
    }
}

fn watched(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let wanted = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
    inotify::add_watch(&fd, directory, wanted)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_write_wakes_at_once_and_none_is_missed() {
        let directory = tempfile::tempdir().unwrap();
        let watch = Watch::new(directory.path());
        assert!(watch.tells());
        let mut file = File::create(directory.path().join("web-1.log")).unwrap();
        watch.changed().await;
        for _ in 0..20 {
            file.write_all(b"x").unwrap();
            let begun = Instant::now();
            watch.changed().await;
            assert!(begun.elapsed() < LOOK_ANYWAY, "{:?}", begun.elapsed());
        }
    }

    #[tokio::test]
    async fn without_a_directory_it_looks_every_now_and_then() {
        let watch = Watch::new(Path::new("/nowhere/to/be/found"));
        assert!(!watch.tells());
        let begun = Instant::now();
        watch.changed().await;
        assert!(begun.elapsed() >= LOOK_ALWAYS);
    }
}
