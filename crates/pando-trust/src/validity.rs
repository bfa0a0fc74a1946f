//! When a certificate counts: at the moment of its validity that is nearest to now.
//!
//! An outage of the control plane lets certificates expire, and a clock that is
//! wrong by days makes them look so; neither may take a server's voice away.

use std::time::Duration;

use pando_model::time::{Millis, Timestamp};
use rustls_pki_types::UnixTime;

const DAY: u64 = 24 * 60 * 60;

/// How long a certificate lives from its making. At half-life it is renewed, so that three and a half days may pass without a
/// control plane before anything is late.
pub const LIFETIME: Millis = Millis::from_secs(7 * DAY);

/// How far from its validity a certificate is still taken. After that the server joins again.
pub const GRACE: Millis = Millis::from_secs(90 * DAY);

/// By how much clocks may differ without a fresh certificate looking as if it were of the future.
pub(crate) const BACKDATED: Millis = Millis::from_secs(60 * 60);

/// Between these moments a certificate is valid, both included. To the second, as certificates have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Validity {
    /// The moment at which the certificate is to be judged; `None`: `now` is too far away.
    pub(crate) fn nearest_to(self, now: Timestamp) -> Option<Timestamp> {
        let nearest = now.clamp(self.not_before, self.not_after.max(self.not_before));
        let away = nearest.since(now).0.max(now.since(nearest).0);
        (away <= GRACE.0).then_some(nearest)
    }

    pub(crate) fn has_expired(self, now: Timestamp) -> bool {
        now > self.not_after
    }

    /// When half of it is over.
    pub(crate) fn half_life(self) -> Timestamp {
        self.not_before + Millis(self.not_after.since(self.not_before).0 / 2)
    }
}

pub(crate) fn from_unix(time: UnixTime) -> Timestamp {
    Timestamp::from_millis(i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000))
}

pub(crate) fn to_unix(time: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_judged_at_the_nearest_moment_within_the_grace() {
        let day = |day: u64| Timestamp::from_millis(0) + Millis::from_secs(day * DAY);
        let validity = Validity { not_before: day(1000), not_after: day(1007) };
        let second = Millis::from_secs(1);
        for (now, judged) in [
            (day(1000), Some(day(1000))),
            (day(1003), Some(day(1003))),
            (day(1007), Some(day(1007))),
            (day(1017), Some(day(1007))),
            (day(1097), Some(day(1007))),
            (day(1097) + second, None),
            (day(990), Some(day(1000))),
            (day(910), Some(day(1000))),
            (day(910) - second, None),
            (Timestamp::from_millis(i64::MIN), None),
            (Timestamp::from_millis(i64::MAX), None),
        ] {
            assert_eq!(validity.nearest_to(now), judged, "{now}");
        }
        assert_eq!(validity.half_life(), day(1003) + Millis::from_secs(DAY / 2));
        assert!(!validity.has_expired(day(1007)) && validity.has_expired(day(1007) + second));
    }

    #[test]
    fn a_validity_that_ends_before_it_begins_is_no_panic() {
        let at = Timestamp::from_millis;
        let odd = Validity { not_before: at(9000), not_after: at(1000) };
        assert_eq!(odd.nearest_to(at(5000)), Some(at(9000)));
        assert_eq!(odd.half_life(), at(9000));
    }
}
