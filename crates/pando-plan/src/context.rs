//! What planning uses up on its way: randomness, ports, room on servers, the time of its next look.

use pando_model::id::Entropy;
use pando_model::time::Timestamp;

use crate::input::{GRACE, Input, LOST_AFTER, SUSPECT_AFTER};
use crate::ports::Ports;
use crate::rooms::Rooms;
use crate::view::View;

#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) view: View<'a>,
    pub(crate) entropy: Entropy,
    pub(crate) ports: Ports<'a>,
    pub(crate) rooms: Rooms,
    wake_at: Option<Timestamp>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(input: &Input<'a>) -> Self {
        let mut context = Self {
            view: View::new(input),
            entropy: Entropy::from_seed(input.seed),
            ports: Ports::new(input),
            rooms: Rooms::default(),
            wake_at: None,
        };
        context.wake_for_silence();
        context
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.view.input.now
    }

    /// Plan again by then. What lies behind is no reason to.
    pub(crate) fn wake(&mut self, at: Timestamp) {
        if at > self.now() {
            self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
        }
    }

    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        self.wake_at
    }

    /// Silence is no event: somebody must look when it has lasted long enough.
    fn wake_for_silence(&mut self) {
        let input = self.view.input;
        self.wake(input.observed.since + GRACE);
        for server in input.desired.servers.values() {
            let Some(seen) = input.observed.servers.get(&server.id) else {
                self.wake(server.joined_at + GRACE);
                continue;
            };
            for at in [seen.heard_at, seen.reported_at] {
                self.wake(at + SUSPECT_AFTER);
                self.wake(at + LOST_AFTER);
            }
            if let Some(at) = seen.proxy_heard_at {
                self.wake(at + LOST_AFTER);
            }
        }
    }
}
