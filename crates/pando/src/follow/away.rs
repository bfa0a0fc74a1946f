//! A control plane that went away in the middle: its daemon may be restarting.

use std::time::{Duration, Instant};

use pando_api::{ClientError, ErrorCode};

use crate::exit::{Trouble, UNREACHABLE, told};
use crate::progress::Progress;

/// How long it is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const RETRY: Duration = Duration::from_millis(100);
/// A restart takes less; only what takes longer is worth a line that stays.
const WORTH_A_LINE: Duration = Duration::from_secs(2);

/// Since when it has not answered, and whether that was said.
#[derive(Debug)]
pub(crate) struct Away {
    since: Option<Instant>,
    said: bool,
    /// What happens meanwhile, such as `the deployment of v3 goes on by itself`.
    meanwhile: String,
}

impl Away {
    pub(crate) fn new(meanwhile: String) -> Self {
        Self { since: None, said: false, meanwhile }
    }

    /// Waits a little, for another try.
    ///
    /// # Errors
    /// `error` itself when trying again can't help; when it was away for too long, so that it is not waited for any more.
    pub(crate) async fn wait(&mut self, error: ClientError, progress: &mut Progress) -> anyhow::Result<()> {
        if !error.is_absence() && error.code() != Some(ErrorCode::Unavailable) {
            return Err(error.into());
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE {
            return Err(self.lost(&error).into());
        }
        let line = format!(
            "the control plane does not answer; waiting for it, up to {} s ({})",
            PATIENCE.as_secs(),
            self.meanwhile
        );
        progress.show(&[format!("  {line}")]);
        if !progress.is_live() && !self.said && since.elapsed() >= WORTH_A_LINE {
            self.said = true;
            progress.keep(&line);
        }
        tokio::time::sleep(RETRY).await;
        Ok(())
    }

    /// It answered.
    pub(crate) fn is_back(&mut self, progress: &mut Progress) {
        if std::mem::take(&mut self.said) {
            progress.keep("the control plane answers again");
        }
        self.since = None;
    }

    fn lost(&self, error: &ClientError) -> Trouble {
        let message =
            format!("the control plane has not answered for {} s: {}", PATIENCE.as_secs(), told(error));
        Trouble::new(UNREACHABLE, "unreachable", message)
            .hint(format!("{}; `pando status` shows it", self.meanwhile))
    }
}
