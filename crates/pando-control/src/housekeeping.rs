//! What nobody waits for: packed releases that no kept release needs, and tokens that expired long ago, are removed. And what
//! must not grow old is made anew in time: the control plane's own certificate, the load balancers' keys.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pando_rt::error_chain::error_chain;
use tokio::time::{MissedTickBehavior, interval};

use crate::artifacts::Artifacts;
use crate::certificates::{expiry, keys};
use crate::prune::needed;
use crate::shared::Shared;
use crate::state::State;
use crate::tokens;

const EVERY: Duration = Duration::from_secs(3600);

/// Sweeps at once, then every hour, until [`Shared::shutdown`] begins.
pub async fn run(shared: Arc<Shared>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Neither arm loses anything when the other is taken: a tick that was not received is there at the next look.
        tokio::select! {
            _ = ticks.tick() => {
                sweep(&shared).await;
                purge(&shared).await;
                shared.trust.renew();
                certificates(&shared).await;
            }
            () = shared.shutdown.wait() => return,
        }
    }
}

/// The load balancers' keys are turned in time, and whose certificate is about to expire is told.
async fn certificates(shared: &Shared) {
    match keys::keep_fresh(&*shared.store, shared.trust.vault(), shared.now()).await {
        Ok(true) => tracing::info!("the load balancers' keys for session tickets were turned"),
        Ok(false) => {}
        Err(error) => tracing::error!("the load balancers' keys can't be turned: {}", error_chain(&error)),
    }
    if let Err(error) = expiry::tell(shared).await {
        tracing::warn!("certificates are not looked at: {}", error_chain(&error));
    }
}

async fn sweep(shared: &Shared) {
    let needed = match State::load(&*shared.store).await {
        Ok(state) => needed(&state),
        Err(error) => {
            tracing::warn!("packed releases are not swept: {}", error_chain(&error));
            return;
        }
    };
    let directory = shared.settings.artifact_dir.clone();
    let swept =
        tokio::task::spawn_blocking(move || Artifacts::new(&directory).sweep(&needed, SystemTime::now()))
            .await;
    match swept {
        Ok(Ok(0)) => {}
        Ok(Ok(count)) => tracing::info!("{count} packed releases that no kept release needs were removed"),
        Ok(Err(error)) => tracing::warn!("packed releases can't be swept: {error}"),
        Err(error) => tracing::error!("sweeping packed releases failed: {error}"),
    }
}

async fn purge(shared: &Shared) {
    match tokens::purge(&*shared.store, shared.now()).await {
        Ok(0) => {}
        Ok(count) => tracing::info!("{count} tokens that expired long ago were removed"),
        Err(error) => tracing::warn!("expired tokens are not removed: {}", error_chain(&error)),
    }
}
