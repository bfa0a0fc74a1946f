//! Where a request was tried in vain.

use pando_routing::EndpointId;
use uuid::Uuid;

/// As many as a table's bounds for retries come to: five of each kind and the first.
const MOST: usize = 11;

/// Endpoints that are not asked again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tried {
    ids: [EndpointId; MOST],
    count: usize,
}

impl Default for Tried {
    fn default() -> Self {
        Self { ids: [EndpointId(Uuid::nil()); MOST], count: 0 }
    }
}

impl Tried {
    /// One more; whether yet another may follow.
    pub(crate) fn add(&mut self, id: EndpointId) -> bool {
        if let Some(free) = self.ids.get_mut(self.count) {
            *free = id;
            self.count += 1;
        }
        self.count < MOST
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn has(&self, id: EndpointId) -> bool {
        self.ids[..self.count].contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_known_and_bounded() {
        let mut tried = Tried::default();
        let id = |n: u128| EndpointId(Uuid::from_u128(n));
        assert!(tried.is_empty() && !tried.has(id(0)));
        for n in 1..MOST as u128 {
            assert!(tried.add(id(n)) && tried.has(id(n)));
        }
        assert!(!tried.add(id(99)) && tried.has(id(99)) && !tried.has(id(100)));
        assert!(!tried.add(id(100)));
    }
}
