//! What this agent does for others that are cut off: tells its newest table, and hands their reports on.

use pando_api::v1::agents::RelayedReport;
use pando_api::{ErrorBody, ErrorCode};
use pando_model::id::{ServerId, Version};
use pando_rt::error_chain::error_chain;
use pando_trust::{SignedBytes, Subject};

use super::contact::Contact;
use super::published::Published;
use super::relays::Relays;
use crate::serve::Neighbours;
use crate::trust::Membership;

/// The agent's own [`Neighbours`].
pub(crate) struct Helper {
    pub(crate) contact: Contact,
    pub(crate) published: Published,
    pub(crate) relays: Relays,
    /// `None`: nobody signs anything here.
    pub(crate) membership: Option<Membership>,
}

impl Neighbours for Helper {
    fn newest_table(&self, have: Version) -> Option<SignedBytes> {
        let held = self.published.held.borrow();
        held.table.as_ref().filter(|_| held.version() > have).map(|table| table.bytes.clone())
    }

    fn relay(&self, server: ServerId, report: RelayedReport) -> Result<(), ErrorBody> {
        let Some(membership) = &self.membership else {
            return Err(ErrorBody::new(ErrorCode::Forbidden, "this cluster's servers have no certificates"));
        };
        let identity = membership.identity.current();
        let (author, _) = report
            .verify(identity.anchor(), membership.now())
            .map_err(|error| ErrorBody::new(ErrorCode::Invalid, error_chain(&error)))?;
        if author.subject != Subject::Server(server) {
            return Err(ErrorBody::new(ErrorCode::Forbidden, "servers hand in their own reports alone"));
        }
        if self.contact.is_cut() {
            return Err(ErrorBody::new(ErrorCode::Unavailable, "this server is cut off as well"));
        }
        if !self.relays.take(server, report) {
            return Err(ErrorBody::new(ErrorCode::Unavailable, "too many reports wait here already"));
        }
        Ok(())
    }
}
