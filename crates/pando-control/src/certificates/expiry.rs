//! Telling in time that a certificate is about to expire: once for each of a few days that are left.

use pando_api::v1::certificates::CertificateSource;
use pando_api::v1::events::EventLevel;
use pando_model::time::Timestamp;
use pando_routing::Host;

use super::{Certificates, StoredCertificate};
use crate::events::{self, Draft};
use crate::shared::Shared;
use crate::state::State;
use crate::store::{Key, StoreError, Txn};

/// Days that are left when it is told. 0: it has expired.
const TOLD: [u32; 5] = [30, 14, 7, 1, 0];

const DAY: i64 = 24 * 3600 * 1000;

/// Tells of every certificate for which it is time, and remembers that.
///
/// # Errors
/// When the store fails.
pub async fn tell(shared: &Shared) -> Result<(), StoreError> {
    let state = State::load(&*shared.store).await?;
    let now = shared.now();
    for (name, days) in due(&state.certificates, now) {
        let Some(stored) = state.certificates.get(name) else { continue };
        let told = StoredCertificate { warned: Some(days), ..stored.clone() };
        let key = Key::Certificate(name.clone());
        let events = events::put_ops([draft(name, stored, days)], now, &mut shared.entropy()?)?;
        let txn = Txn::new().unchanged(&key, state.modified(&key)).put(&key, &told)?.ops(events);
        // One that was replaced meanwhile is looked at again the next time.
        shared.store.txn(txn).await?;
    }
    Ok(())
}

/// Those of which something is to be told, and how many days it is about.
fn due(certificates: &Certificates, now: Timestamp) -> Vec<(&Host, u32)> {
    let each = certificates.iter().filter_map(|(name, stored)| {
        let days = threshold(stored.not_after, now)?;
        let news = stored.warned.is_none_or(|warned| days < warned);
        news.then_some((name, days))
    });
    each.collect()
}

/// The least of the days at which it is told that has come.
fn threshold(not_after: Timestamp, now: Timestamp) -> Option<u32> {
    let left = not_after.as_millis().saturating_sub(now.as_millis());
    TOLD.into_iter().rev().find(|days| left <= i64::from(*days) * DAY)
}

fn draft(name: &Host, stored: &StoredCertificate, days: u32) -> Draft {
    let at: String = stored.not_after.to_string().chars().take(10).collect();
    let remedy = match stored.source {
        CertificateSource::Imported => "import the next one with `pando cert import`",
        CertificateSource::Automatic => "it could not be renewed so far",
    };
    let (level, text) = match days {
        0 => (
            EventLevel::Error,
            format!("the certificate `{name}` expired on {at}: visitors are warned off; {remedy}"),
        ),
        1 => (EventLevel::Error, format!("the certificate `{name}` expires within a day, on {at}; {remedy}")),
        7 => (
            EventLevel::Warning,
            format!("the certificate `{name}` expires within 7 days, on {at}; {remedy}"),
        ),
        days => (
            EventLevel::Info,
            format!("the certificate `{name}` expires within {days} days, on {at}; {remedy}"),
        ),
    };
    Draft::new(text).level(level)
}

#[cfg(test)]
mod tests {
    use super::super::testing::stored;
    use super::*;

    #[test]
    fn each_of_a_few_days_is_told_once() {
        let mut held = Certificates::new();
        let name: Host = "a.example".parse().unwrap();
        let end = Timestamp::from_millis(2_000_000_000_000);
        held.insert(name.clone(), StoredCertificate { not_after: end, ..stored(&["a.example"]) });
        let mut told = Vec::new();
        for hours_left in (-48..60 * 24).rev() {
            let now = Timestamp::from_millis(end.as_millis() - hours_left * 3600 * 1000);
            if let Some((_, days)) = due(&held, now).first().copied() {
                told.push((hours_left, days));
                held.get_mut(&name).unwrap().warned = Some(days);
            }
        }
        assert_eq!(told, [(30 * 24, 30), (14 * 24, 14), (7 * 24, 7), (24, 1), (0, 0)]);
    }

    #[test]
    fn one_that_comes_late_is_told_of_once_and_as_it_is() {
        let late = threshold(Timestamp::from_millis(5 * DAY), Timestamp::from_millis(0));
        assert_eq!(late, Some(7));
        assert_eq!(threshold(Timestamp::from_millis(0), Timestamp::from_millis(1)), Some(0));
        assert_eq!(threshold(Timestamp::from_millis(31 * DAY), Timestamp::from_millis(0)), None);
    }
}
