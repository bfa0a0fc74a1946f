//! Whether a disk has room, and the arithmetic for people when it has not.

use std::io;
use std::path::{Path, PathBuf};

use pando_model::resources::Bytes;

/// Left free on a large disk: what logs, databases and the system write meanwhile.
const RESERVE: u64 = 2 << 30;

/// Of a small disk a tenth is left free instead.
const SHARE: u64 = 10;

/// A disk, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    pub free: u64,
    pub total: u64,
}

/// What a disk lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not enough room for the image: {} needed and {} kept free make {}, and the disk with `{}` has {} free",
    Bytes(*needed), Bytes(*reserve), Bytes(needed.saturating_add(*reserve)), path.display(), Bytes(*free)
)]
pub struct NoRoom {
    pub path: PathBuf,
    pub needed: u64,
    pub reserve: u64,
    pub free: u64,
}

impl Disk {
    /// The disk that `path` lies on.
    ///
    /// # Errors
    /// Whatever the system answers, such as that there is no such path.
    pub fn of(path: &Path) -> io::Result<Self> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Self {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    /// What is never filled: 2 GiB, or a tenth of a disk of less than 20 GiB.
    #[must_use]
    pub fn reserve(self) -> u64 {
        RESERVE.min(self.total / SHARE)
    }

    /// # Errors
    /// When `needed` bytes more would reach into the reserve. `path` is only named.
    pub fn check(self, path: &Path, needed: u64) -> Result<(), NoRoom> {
        let reserve = self.reserve();
        if needed == 0 || self.free >= needed.saturating_add(reserve) {
            return Ok(());
        }
        Err(NoRoom { path: path.to_owned(), needed, reserve, free: self.free })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_reserve_is_kept_that_fits_the_disk() {
        for (total, free, needed, fits) in [
            (100 * GIB, 10 * GIB, 8 * GIB, true),
            (100 * GIB, 10 * GIB, 8 * GIB + 1, false),
            (10 * GIB, 3 * GIB, 2 * GIB, true),
            (10 * GIB, 3 * GIB, 2 * GIB + 1, false),
            (10 * GIB, 0, 0, true),
            (u64::MAX, u64::MAX, u64::MAX, true),
        ] {
            let checked = Disk { free, total }.check(Path::new("/var/lib"), needed);
            assert_eq!(checked.is_ok(), fits, "{needed} of {free} of {total}");
        }
    }

    #[test]
    fn the_refusal_shows_the_sum() {
        let error = Disk { free: 3_000_000_000, total: 1 << 40 }.check(Path::new("/data"), 4_000_000_000);
        let text = "not enough room for the image: 4 GB needed and 2.1 GB kept free make 6.1 GB, and the disk with `/data` has 3 GB free";
        assert_eq!(error.unwrap_err().to_string(), text);
    }

    #[test]
    fn this_machine_has_a_disk() {
        let disk = Disk::of(&std::env::temp_dir()).unwrap();
        assert!(disk.total > 0 && disk.free <= disk.total, "{disk:?}");
        assert!(Disk::of(Path::new("/nowhere/at/all")).is_err());
    }
}
