//! The streams of one connection: futures of the connection's own task.
//!
//! A task of its own for each would cost a request two more turns of the runtime, and a task's memory. Places are used again, with
//! the waker of whoever had them before: a stream that is woken in place of an earlier one finds nothing new.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

use super::bell::Bell;

/// Places that are kept while nothing is under way: what a client has at once that asks for one thing after the other.
const KEPT: usize = 2;

/// What is under way.
#[derive(Debug)]
pub(super) struct Streams {
    places: Vec<Place>,
    free: Vec<usize>,
    calls: Arc<Calls>,
    /// Empty but for its room.
    called: Vec<usize>,
    /// One has ended since somebody asked.
    ended: bool,
}

/// Boxed where it begins: it is some kilobytes, which would be copied from place to place.
pub(super) type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Place {
    stream: Option<Stream>,
    call: Arc<Call>,
    waker: Waker,
}

/// Who was woken.
#[derive(Debug)]
struct Calls {
    places: Mutex<Vec<usize>>,
    bell: Arc<Bell>,
}

/// Wakes one place.
#[derive(Debug)]
struct Call {
    place: usize,
    /// It stands among the calls.
    stands: AtomicBool,
    calls: Arc<Calls>,
}

impl Streams {
    /// Who is woken rouses by that bell.
    pub(super) fn new(bell: Arc<Bell>) -> Self {
        let calls = Arc::new(Calls { places: Mutex::default(), bell });
        Self { places: Vec::new(), free: Vec::new(), calls, called: Vec::new(), ended: false }
    }

    /// Nothing of it happens before the next [`Streams::poll`]. A panic of one is no other's.
    pub(super) fn push(&mut self, stream: Stream) {
        let at = self.free.pop().unwrap_or_else(|| self.new_place());
        let place = &mut self.places[at];
        place.stream = Some(stream);
        place.call.call();
    }

    fn new_place(&mut self) -> usize {
        let place = self.places.len();
        let call = Arc::new(Call { place, stands: AtomicBool::new(false), calls: Arc::clone(&self.calls) });
        self.places.push(Place { stream: None, waker: Waker::from(Arc::clone(&call)), call });
        place
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// Goes on with each that was woken, once.
    pub(super) fn poll(&mut self) {
        std::mem::swap(&mut self.called, &mut *self.calls.lock());
        for at in self.called.drain(..) {
            // Places go when all have ended; a call may come from before.
            let Some(place) = self.places.get_mut(at) else { continue };
            place.call.stands.store(false, SeqCst);
            if place.poll() {
                place.stream = None;
                self.free.push(at);
                self.ended = true;
            }
        }
    }

    /// Whether one is to go on.
    pub(super) fn are_called(&self) -> bool {
        !self.calls.lock().is_empty()
    }

    /// Whether the last one has ended since this was last asked. Then most of their memory is given up.
    pub(super) fn have_ended(&mut self) -> bool {
        let ended = std::mem::take(&mut self.ended) && self.is_empty();
        if ended && self.places.len() > KEPT {
            self.clear();
        }
        ended
    }

    /// Gives up all of them, and their memory.
    pub(super) fn clear(&mut self) {
        (self.places, self.free, self.called) = (Vec::new(), Vec::new(), Vec::new());
    }
}

impl Place {
    /// Whether its stream has ended just now. A panic is an end as well, of which the hook has told.
    fn poll(&mut self) -> bool {
        let Self { stream: Some(stream), waker, .. } = self else { return false };
        let mut cx = Context::from_waker(waker);
        let polled = catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll(&mut cx).is_ready()));
        polled.unwrap_or(true)
    }
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    fn call(&self) {
        if !self.stands.swap(true, SeqCst) {
            self.calls.lock().push(self.place);
        }
        self.calls.bell.rouse();
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.call();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.call();
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("taken", &self.stream.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
