//! Prunes by itself when a disk gets full.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pando_image::engine::Engine;
use pando_image::space::Disk;
use pando_model::resources::Bytes;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::artifacts::{Pruner, is_same_disk};

/// After the start: what is to be kept is known by then, as a rule.
const FIRST: Duration = Duration::from_secs(10);

/// Between two looks at the disks. A disk that fills within a minute is filled by what can't be pruned.
const LOOK: Duration = Duration::from_secs(60);

/// After a pruning that removed nothing, the disk is others' business for a while.
const AGAIN: Duration = Duration::from_secs(3600);

/// After one that could not look at everything, such as while an engine is away.
const AFTER_TROUBLE: Duration = Duration::from_secs(300);

/// How long the engine may take to tell where its images lie.
const WORD: Duration = Duration::from_secs(5);

/// Watches the disks of the state directory and of the engine.
pub(crate) struct Housekeeper {
    pub(crate) pruner: Pruner,
    /// `STATE_DIR/releases`.
    pub(crate) releases: PathBuf,
    /// The container engine's socket.
    pub(crate) engine: PathBuf,
    /// Of a disk that must be free, in percent. 0: whatever is free is enough.
    pub(crate) below: u8,
}

impl Housekeeper {
    /// Until it is dropped. May be dropped at any await: a pruning that was begun goes on.
    pub(crate) async fn run(self) {
        if self.below == 0 {
            return;
        }
        let mut ticks = interval_at(Instant::now() + FIRST, LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rests_until = Instant::now();
        loop {
            ticks.tick().await;
            if Instant::now() < rests_until {
                continue;
            }
            let Some(why) = self.low().await else { continue };
            let pruned = self.pruner.make_room(&why).await;
            if pruned.count > 0 {
                continue;
            }
            if pruned.trouble.is_empty() {
                tracing::warn!("{why}; nothing of Pando's can be removed");
            }
            rests_until = Instant::now() + if pruned.trouble.is_empty() { AGAIN } else { AFTER_TROUBLE };
        }
    }

    /// Which disk has too little left. `None`: none has.
    async fn low(&self) -> Option<String> {
        let root = self.engine_root().await;
        let (releases, below) = (self.releases.clone(), self.below);
        let looked = tokio::task::spawn_blocking(move || {
            let other = root.filter(|root| !is_same_disk(&releases, root));
            [Some(releases), other].into_iter().flatten().find_map(|path| low(&path, below))
        });
        // It fails only by a panic, or when the program ends.
        looked.await.ok().flatten()
    }

    /// Where the engine keeps images, if it can be asked.
    async fn engine_root(&self) -> Option<PathBuf> {
        if !self.engine.exists() {
            return None;
        }
        let asked = async { Engine::connect(&self.engine).await?.about().await };
        timeout(WORD, asked).await.ok()?.ok()?.root
    }
}

/// In words, if less than so many percent of the disk are free. Blocking.
fn low(path: &Path, below: u8) -> Option<String> {
    // An engine's directory on another machine is nothing to look at.
    words(path, Disk::of(path).ok()?, below)
}

fn words(path: &Path, disk: Disk, below: u8) -> Option<String> {
    let is_low = u128::from(disk.free) * 100 < u128::from(disk.total) * u128::from(below);
    is_low.then(|| {
        let (free, total) = (Bytes(disk.free), Bytes(disk.total));
        format!("the disk with `{}` has {free} of {total} free, less than {below} %", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_low_below_its_part() {
        for (free, below, low) in
            [(15, 15, false), (14, 15, true), (100, 100, false), (99, 100, true), (0, 1, true), (0, 0, false)]
        {
            let disk = Disk { free: free * 1_000_000_000, total: 100_000_000_000 };
            assert_eq!(words(Path::new("/x"), disk, below).is_some(), low, "{free} {below}");
        }
        let disk = Disk { free: 8_000_000_000, total: 100_000_000_000 };
        let said = words(Path::new("/var/lib/pando"), disk, 15).unwrap();
        assert_eq!(said, "the disk with `/var/lib/pando` has 8 GB of 100 GB free, less than 15 %");
        let huge = Disk { free: u64::MAX, total: u64::MAX };
        assert_eq!(words(Path::new("/x"), huge, 100), None);
    }
}
