//! Shows what is looked at again and again, until the program is told to end.

use std::time::Duration;

use pando_api::client::ClientError;
use pando_rt::shutdown::termination;
use tokio::time::MissedTickBehavior;

use crate::printer::{Paint, Printer};
use crate::progress::Progress;

/// What was seen at one moment.
pub(crate) trait Picture {
    /// `moving`: with what changes by itself from one look to the next, such as ages.
    fn lines(&self, paint: Paint, moving: bool) -> Vec<String>;

    /// # Errors
    /// It can't be written.
    fn json(&self, printer: Printer) -> anyhow::Result<()>;
}

/// How often is looked, and how long a look may take: a picture that comes later is of the past, and one that stands still says
/// nothing of that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) every: Duration,
    pub(crate) patience: Duration,
}

/// Draws each picture over the one before. Piped: prints one whenever something else has changed than what moves by itself. As JSON:
/// one after the other. That the control plane is away is said, and it is looked on.
///
/// # Errors
/// A look's, other than that nobody answers; that of writing.
pub(crate) async fn watch<P: Picture>(
    printer: Printer,
    pace: Pace,
    look: impl AsyncFnMut() -> anyhow::Result<P>,
) -> anyhow::Result<()> {
    let progress = Progress::new(printer);
    let mut screen = Screen { printer, progress, last: Vec::new(), told: Vec::new() };
    let watched = tokio::select! {
        // A question that is left unanswered changes nothing.
        watched = screen.follow(pace, look) => watched,
        told = termination() => told.map_err(Into::into),
    };
    screen.progress.leave(&screen.last);
    watched
}

struct Screen {
    printer: Printer,
    progress: Progress,
    /// The picture that is drawn; it stays when the watching ends.
    last: Vec<String>,
    /// What was printed last where nothing is drawn, without what moves by itself.
    told: Vec<String>,
}

impl Screen {
    /// Ends with a failure alone.
    async fn follow<P: Picture>(
        &mut self,
        pace: Pace,
        mut look: impl AsyncFnMut() -> anyhow::Result<P>,
    ) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(pace.every);
        // A picture that came late is followed by the next one in its own time, not by several at once.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match tokio::time::timeout(pace.patience, look()).await {
                Ok(Ok(picture)) => self.show(&picture)?,
                Ok(Err(error)) if !error.downcast_ref().is_some_and(ClientError::is_absence) => {
                    return Err(error);
                }
                Ok(Err(_)) | Err(_) => self.tell_absence(),
            }
        }
    }

    fn show(&mut self, picture: &impl Picture) -> anyhow::Result<()> {
        if self.printer.is_json() {
            return picture.json(self.printer);
        }
        if self.draws() {
            self.last = picture.lines(self.printer.talk_paint(), true);
            self.progress.show(&self.last);
            return Ok(());
        }
        let still = picture.lines(self.printer.paint(), false);
        if still != self.told {
            self.printer.lines(&picture.lines(self.printer.paint(), true))?;
            self.told = still;
        }
        Ok(())
    }

    fn draws(&self) -> bool {
        self.progress.is_live() && !self.printer.is_json()
    }

    fn tell_absence(&mut self) {
        let line = "the control plane does not answer; replicas and traffic go on";
        if self.draws() {
            self.last = vec![line.to_owned()];
            self.progress.show(&self.last);
        } else if self.told != [line] {
            self.printer.warn(line);
            self.told = vec![line.to_owned()];
        }
    }
}
