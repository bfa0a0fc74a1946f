//! The keys of load balancers, which the control plane's housekeeping turns now and then.

use pando_control::certificates::keys::StoredKeys;
use pando_control::store::{Key, Outcome, Txn};
use serde_json::json;

use crate::trace::say;
use crate::world::World;

/// In seconds. Much more often than in earnest, so that whoever is cut off for a while misses some.
const EVERY: u64 = 7;

impl World {
    /// Called once a second.
    pub(crate) fn turn_keys(&mut self) {
        if !self.scenario.keys || !(self.now / 1000).is_multiple_of(EVERY) {
            return;
        }
        // Nobody opens here what is sealed; that it is another is enough.
        let secret = json!({ "key": "0", "sealed": self.now.to_string() });
        let keys = serde_json::from_value(json!({ "since": self.control_now(), "secret": secret }));
        let Ok(keys): Result<StoredKeys, _> = keys else {
            return self.broke("there are no keys to turn to".to_owned());
        };
        let written = Txn::new().put(Key::table_keys(), &keys).and_then(|txn| self.control.write(txn));
        if let Ok(Outcome::Committed(revision)) = written {
            say!(self, "control", "the keys turn");
            self.hint_control(revision);
        }
    }
}
