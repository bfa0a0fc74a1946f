//! Which image a name stands for, whoever calls another one so by now.
//!
//! Names are anybody's to give who may speak with the engine. What was deployed has to be what runs, so a start goes by the image and gives it
//! its name back.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::containers::Containers;
use super::engine::{Engine, EngineError};
use super::images::{self, ImageFacts};

/// Ids of images by the names that were given to them.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<BTreeMap<String, String>>);

impl Pins {
    fn of(&self, name: &str) -> Option<String> {
        self.lock().get(name).cloned()
    }

    fn set(&self, name: &str, id: &str) {
        self.lock().insert(name.to_owned(), id.to_owned());
    }

    pub(super) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Nothing under this lock can leave it half-changed.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Containers {
    /// Until the name is taken away, what is started under it is the image of that id, or nothing. To be said again after each start of
    /// this program.
    pub fn pin(&self, name: &str, id: &str) {
        self.shared.pins.set(name, id);
    }
}

/// What the image under that name says of itself; under a pinned one, the pinned image, which has the name then.
pub(super) async fn facts(engine: &Engine, pins: &Pins, reference: &str) -> Result<ImageFacts, EngineError> {
    let pinned = pins.of(reference);
    let found = match images::facts(engine, reference).await {
        Err(error) if error.is_missing() => None,
        found => Some(found?),
    };
    match (found, pinned) {
        (Some(found), None) => Ok(found),
        (Some(found), Some(id)) if found.id == id => Ok(found),
        (found, Some(id)) => called_again(engine, reference, &id, found.is_some()).await,
        (None, None) => Err(missing(reference)),
    }
}

/// `is_other`: some other image has the name.
async fn called_again(
    engine: &Engine,
    name: &str,
    id: &str,
    is_other: bool,
) -> Result<ImageFacts, EngineError> {
    let facts = match images::facts(engine, id).await {
        Err(error) if error.is_missing() && is_other => return Err(replaced(name)),
        Err(error) if error.is_missing() => return Err(missing(name)),
        facts => facts?,
    };
    images::name(engine, id, name).await?;
    tracing::warn!(target: "pando", "`{name}` was no longer the name of the image that was deployed ({id}): it is again");
    Ok(facts)
}

/// The image is not there, whatever has its name.
pub(super) fn is_lost(error: &EngineError) -> bool {
    error.is_missing() || error.is_conflict()
}

fn missing(reference: &str) -> EngineError {
    let message = format!("this server's engine has no image `{reference}`");
    EngineError::Refused { status: 404, message }
}

fn replaced(name: &str) -> EngineError {
    let message = format!(
        "this server's engine calls another image `{name}`, and has the one that was deployed no more; the next replica that starts there \
         has it brought again"
    );
    EngineError::Refused { status: 409, message }
}
