//! Whether a machine takes requests from outside: its load balancer is started, kept, and ended with its last request.

use pando_agent::reconcile::Event as AgentInput;
use pando_model::assignment::Entry;

use super::daemon::AgentEvent;
use crate::world::World;

impl World {
    pub(super) fn want_entry(&mut self, at: usize, entry: Option<Entry>) {
        if let Some(daemon) = self.machines[at].daemon.as_deref_mut() {
            daemon.entry = Some(entry);
            self.put_agent_soon(at, 5, 150, AgentEvent::KeepEntry);
        }
    }

    /// One thing after another: what is ending ends before it is started again.
    pub(crate) fn keep_entry(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let closing = machine.proxy.as_deref().is_some_and(|proxy| proxy.closing);
        let Some(wanted) = machine.daemon.as_deref().and_then(|daemon| daemon.entry) else { return };
        if closing {
            return;
        }
        machine.keeps_proxy = wanted.is_some();
        match wanted {
            Some(entry) => {
                self.start_proxy(at);
                self.switch_link_on(at, entry);
                self.feed(at, AgentInput::EntryKept(Ok(true)));
            }
            None if machine.proxy.is_some() => self.close_proxy(at),
            None => self.entry_is_gone(at),
        }
    }

    /// Its last request has ended, or was cut off.
    pub(crate) fn entry_is_gone(&mut self, at: usize) {
        match self.machines[at].daemon.as_deref().map(|daemon| daemon.entry) {
            Some(Some(None)) => {
                self.switch_link_off(at);
                self.forget_secrets(at);
                self.feed(at, AgentInput::EntryKept(Ok(false)));
            }
            Some(Some(Some(_))) => self.keep_entry(at),
            Some(None) | None => {}
        }
    }
}
