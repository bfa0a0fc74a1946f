//! Renews this server's certificate when half of its life is over, without a restart.
//!
//! A new key each time. The identity is on disk before it is used, and swapped
//! whole; connections that are open go on with the old one. While the control plane
//! is away it is asked again and again: nothing depends on it for half a week, and
//! even an expired certificate is taken for this.

mod pace;

use std::time::Duration;

use pando_api::client::{Client, ClientError};
use pando_api::v1::agents::CertificateRequest;
use pando_model::id::ServerId;
use pando_rt::error_chain::error_chain;
use pando_trust::{Identity, PendingIdentity, TrustError};
use tokio::time::Instant;

use self::pace::Pace;
use crate::trust::Membership;

/// How often it is looked whether it is time: clocks are set, and machines sleep.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) struct Renewer {
    pub(crate) client: Client,
    pub(crate) server: ServerId,
    pub(crate) membership: Membership,
}

#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("the control plane answered with the certificate of somebody else")]
    NotOurs,
    #[error("the work was cut off")]
    CutOff,
}

impl Renewer {
    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        let mut pace = Pace::default();
        loop {
            tokio::time::sleep(LOOK).await;
            if !self.is_due() || !pace.may_try(Instant::now()) {
                continue;
            }
            match self.renew().await {
                Ok(()) => {
                    pace = pace.succeeded(Instant::now());
                    self.tell();
                }
                Err(error) => {
                    self.complain(&error, pace.failures());
                    pace = pace.failed(Instant::now());
                }
            }
        }
    }

    fn is_due(&self) -> bool {
        self.membership.now() >= self.membership.identity.current().renew_at()
    }

    async fn renew(&self) -> Result<(), RenewError> {
        let pending = PendingIdentity::make()?;
        let request = CertificateRequest { request: pending.request()? };
        let issued = self.client.renew_certificate(self.server, &request).await?;
        let current = self.membership.identity.current();
        let identity =
            pending.certified(&issued.certificate, current.anchor().clone(), self.membership.now())?;
        if identity.subject() != current.subject() {
            return Err(RenewError::NotOurs);
        }
        self.keep(identity.clone()).await?;
        if !self.membership.identity.swap(identity) {
            return Err(RenewError::NotOurs);
        }
        Ok(())
    }

    async fn keep(&self, identity: Identity) -> Result<(), RenewError> {
        let file = self.membership.file.clone();
        let saved = tokio::task::spawn_blocking(move || identity.save(&file)).await;
        Ok(saved.map_err(|_| RenewError::CutOff)??)
    }

    fn tell(&self) {
        if self.is_due() {
            tracing::warn!(
                "the certificate of this server was renewed, and by the clock here the new one is due again: is this clock ahead?"
            );
        } else {
            tracing::info!("the certificate of this server was renewed");
        }
    }

    /// Once in a while: for days this is nothing to act upon.
    fn complain(&self, error: &RenewError, failures: u32) {
        let why = error_chain(error);
        let expired = self.membership.now() > self.membership.identity.current().not_after();
        if expired && failures.is_multiple_of(60) {
            tracing::warn!("the certificate of this server has expired and can't be renewed: {why}");
        } else if failures == 0 {
            tracing::info!("the certificate of this server is due for renewal and could not be yet: {why}");
        } else {
            tracing::debug!("{why}");
        }
    }
}
