//! Which releases are kept: in the store, so that they can be wanted again, and on servers, where that needs no network.

use pando_model::app::KEEP_RELEASES;
use pando_model::release::ReleaseNumber;

use crate::app::AppPlan;

/// So many of the newest stay in the store, beside those that servers keep or something runs.
const NEWEST: usize = 10;

impl AppPlan<'_> {
    /// Those that were ever committed and are in the store, the latest first: the one that is committed now, then the one before
    /// it, whichever number they have. What failed is not among them.
    pub(crate) fn served(&self) -> Vec<ReleaseNumber> {
        let before = &self.desired.assigned;
        let Some(committed) = self.committed.map(|target| target.release) else {
            return before.served.clone();
        };
        let unrecorded = before.committed.filter(|_| before.served.is_empty()).map(|target| target.release);
        let earlier: Vec<ReleaseNumber> = match unrecorded {
            // Of a store that was written before this was put on record.
            Some(last) => self.desired.releases.range(..=last).rev().map(|(number, _)| *number).collect(),
            None => before.served.clone(),
        };
        let others = earlier.into_iter().filter(|one| *one != committed && self.release(*one).is_some());
        std::iter::once(committed).chain(others).collect()
    }

    /// Those of them that stay on servers: as many as the one that is committed asks for, itself included.
    pub(crate) fn kept_on_servers(&self) -> Vec<ReleaseNumber> {
        let spec = self.committed.and_then(|target| self.spec(target));
        let count = spec.map_or(KEEP_RELEASES, |spec| spec.keep_releases);
        self.served().into_iter().take(usize::try_from(count).unwrap_or(usize::MAX)).collect()
    }

    /// Releases beyond those kept that nothing refers to any more.
    pub(crate) fn forgotten_releases(&self) -> Vec<ReleaseNumber> {
        let older = self.desired.releases.len().saturating_sub(NEWEST);
        let kept = self.kept_on_servers();
        let oldest = self.desired.releases.keys().copied().take(older);
        oldest.filter(|release| !self.is_in_use(*release) && !kept.contains(release)).collect()
    }
}
