//! Symbolic links of an archive: each must stay inside, also by way of others.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::{UnpackError, lossy};

/// As many as the kernel follows; what needs more leads nowhere.
const MOST_FOLLOWED: u32 = 40;

/// Every link so far, by where it lies.
#[derive(Debug, Default)]
pub(super) struct Links {
    targets: HashMap<Vec<OsString>, Vec<u8>>,
}

impl Links {
    pub(super) fn add(&mut self, parts: &[&OsStr], target: &[u8]) {
        let place = parts.iter().map(|part| (*part).to_owned()).collect();
        self.targets.insert(place, target.to_owned());
    }

    /// # Errors
    /// For the first that leads out.
    pub(super) fn check(&self) -> Result<(), UnpackError> {
        for (place, target) in &self.targets {
            if !self.stays_inside(place, target) {
                let path = place.join(OsStr::new("/"));
                let (path, target) = (lossy(path.as_bytes()), lossy(target));
                return Err(UnpackError::LeadsOut { path, target });
            }
        }
        Ok(())
    }

    /// Walks as the kernel would, with the release's directory as the only known place.
    fn stays_inside(&self, place: &[OsString], target: &[u8]) -> bool {
        let mut here: Vec<OsString> = place[..place.len().saturating_sub(1)].to_vec();
        let mut ahead = vec![];
        if !put_ahead(&mut ahead, target) {
            return false;
        }
        let mut followed = 0;
        while let Some(part) = ahead.pop() {
            if part == ".." {
                if here.pop().is_none() {
                    return false;
                }
                continue;
            }
            here.push(part);
            if let Some(next) = self.targets.get(&here) {
                followed += 1;
                if followed > MOST_FOLLOWED {
                    return true;
                }
                here.pop();
                if !put_ahead(&mut ahead, next) {
                    return false;
                }
            }
        }
        true
    }
}

/// False for an absolute path.
fn put_ahead(ahead: &mut Vec<OsString>, target: &[u8]) -> bool {
    let parts = target.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let parts: Vec<OsString> = parts.map(|part| OsStr::from_bytes(part).to_owned()).collect();
    ahead.extend(parts.into_iter().rev());
    !target.starts_with(b"/")
}
