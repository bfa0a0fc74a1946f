//! A cluster's authority, and identities that it issues.

use std::sync::Arc;

use pando_agent::Membership;
use pando_model::id::ServerId;
use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use pando_trust::{Authority, Identity, JoinSecret, LiveIdentity, PendingIdentity, Subject};
use tempfile::TempDir;

pub(crate) struct Cluster {
    pub(crate) authority: Authority,
    pub(crate) clock: Clock,
    /// With which a server joins.
    pub(crate) secret: JoinSecret,
    directory: TempDir,
}

impl Cluster {
    /// Its clock stands still.
    pub(crate) fn new() -> Self {
        let clock = Clock::manual(1_790_000_000_000);
        let now = Timestamp::from_millis(clock.now_millis());
        let authority = Authority::make("test", now).unwrap();
        let secret = JoinSecret::make().unwrap();
        Self { authority, clock, secret, directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.now_millis())
    }

    /// Issued now.
    pub(crate) fn identity(&self, subject: Subject) -> Identity {
        let pending = PendingIdentity::make().unwrap();
        let pem = self.authority.issue(&pending.request().unwrap(), subject, self.now()).unwrap();
        pending.certified(&pem, self.authority.anchor().clone(), self.now()).unwrap()
    }

    pub(crate) fn live(&self, subject: Subject) -> Arc<LiveIdentity> {
        LiveIdentity::new(self.identity(subject))
    }

    pub(crate) fn membership(&self, server: ServerId) -> Membership {
        Membership {
            identity: self.live(Subject::Server(server)),
            file: self.directory.path().join(format!("{server}.json")),
            clock: self.clock.clone(),
        }
    }
}
