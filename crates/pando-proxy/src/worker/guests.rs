//! How many connections each address has, where that is bounded.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts by address.
#[derive(Debug)]
pub(super) struct Guests {
    most: NonZeroUsize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of an address; dropped when it ends.
#[derive(Debug)]
pub(super) struct Guest {
    guests: Arc<Guests>,
    of: IpAddr,
}

/// `None`: this connection's address is not bounded.
pub(super) type Bounded = Option<Guest>;

impl Guests {
    pub(super) fn new(most: NonZeroUsize) -> Arc<Self> {
        Arc::new(Self { most, counts: Mutex::default() })
    }

    /// `None`: the address has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Guest> {
        let of = household(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(of).or_default();
        if *count >= self.most.get() {
            return None;
        }
        *count += 1;
        Some(Guest { guests: Arc::clone(self), of })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.guests.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.of);
            }
        }
    }
}

/// Whoever has one address of IPv6 has 2^64 of them.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (!0 << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_household_has_so_many_and_leaves_no_trace() {
        let guests = Guests::new(NonZeroUsize::new(2).unwrap());
        let enter = |address: &str| guests.enter(address.parse().unwrap());
        let (first, _second) = (enter("10.0.0.1"), enter("::ffff:10.0.0.1"));
        assert!(first.is_some() && enter("10.0.0.1").is_none() && enter("10.0.0.2").is_some());
        drop(first);
        assert!(enter("10.0.0.1").is_some());
        let _six = (enter("2001:db8::1"), enter("2001:db8::2"));
        assert!(enter("2001:db8::3").is_none() && enter("2001:db8:0:1::3").is_some());
        drop((_second, _six));
        assert!(guests.counts.lock().unwrap().is_empty());
    }
}
