//! What a proxy reports back: what it applied, what is in rotation, what it counted.
//!
//! Counters are totals since the proxy started; `boot` tells one start from the
//! next, so that a reader can take differences.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::balance::outlier::Reason;
use crate::secrets::SecretMark;
use crate::table::{EndpointId, PoolId, TableVersion};

/// The answer to a table that was taken, after every worker uses it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    #[serde(flatten)]
    pub version: TableVersion,
    /// Active endpoints that get no requests, since their probe has not passed (yet).
    pub not_in_rotation: BTreeSet<EndpointId>,
}

/// The answer to `GET /v1/stats?after=SEQUENCE&wait_millis=N`: a long poll that answers as soon as the sequence is beyond
/// `after`, or with the unchanged state when the wait is over. The sequence rises when the version, the rotation or the set of
/// draining endpoints that are idle changes; counters alone don't wake a poll.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProxyStats {
    pub boot: Uuid,
    pub sequence: u64,
    /// What every worker uses. `None`: no table yet.
    pub version: Option<TableVersion>,
    /// Of that table's secret part.
    #[serde(default, skip_serializing_if = "SecretMark::is_empty")]
    pub secrets: SecretMark,
    pub not_in_rotation: BTreeSet<EndpointId>,
    /// Why they are not in rotation, as their last look found: those of them of whom it is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub why_out: BTreeMap<EndpointId, String>,
    /// Requests and upgraded connections under way; endpoints with none are left out. Includes endpoints that have left
    /// the table and still have some.
    pub in_flight: BTreeMap<EndpointId, u64>,
    pub pools: BTreeMap<PoolId, PoolStats>,
    /// Requests that no rule matched.
    pub unmatched: u64,
    /// Hosts of the table's rules that TLS has no certificate for, by name, the first hundred; they are answered with one that
    /// nobody vouches for. Empty where nobody listens for TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts_without_certificate: Vec<String>,
    /// Endpoints that get no requests since those that they got failed, though their probe may pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ejected: Vec<Ejected>,
    /// Of the table's active endpoints.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<EndpointId, EndpointStats>,
}

/// Totals of one endpoint since the proxy started or the endpoint came into its table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndpointStats {
    /// Its answers that were passed on in whole, by first digit of the status: 1xx to 5xx.
    pub by_class: [u64; 5],
    /// Requests that it did not answer, or not in whole, by no fault of the client.
    pub failed: u64,
    /// From a request to the head of its answer, in microseconds: the average that peak-EWMA balances by. `None`: not measured.
    pub rtt_micros: Option<u64>,
}

/// Why an endpoint is ejected, and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ejected {
    pub endpoint: EndpointId,
    pub reason: Reason,
    /// The reason in words.
    pub text: String,
    /// How often it was ejected, this time included; a minute in rotation takes one off.
    pub times: u32,
    /// In Unix milliseconds.
    pub since_millis: i64,
    /// In Unix milliseconds; from then on one request, and no more, is sent there to see whether it can come back.
    pub until_millis: i64,
}

/// Totals of one pool since the proxy started; kept while a table names the pool, and for its last state after.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolStats {
    /// Requests that were answered in whole, whoever wrote the answer.
    pub requests: u64,
    /// By first digit of the status: 1xx to 5xx.
    pub by_class: [u64; 5],
    /// Requests that failed by no fault of the client: answered 502, 503 or 504 by the proxy itself, or cut off in the middle.
    pub failed: u64,
    /// Those of them that got 503 because no endpoint was in rotation.
    #[serde(default)]
    pub unready: u64,
    /// Those of them that got 503 because every endpoint had as many requests as it may, and the queue was full or the wait over.
    #[serde(default)]
    pub busy: u64,
    /// Tries beyond the first.
    pub retries: u64,
    /// Tries that were not made since the budget for them was spent.
    #[serde(default)]
    pub retries_denied: u64,
    /// Requests that were asked of a second endpoint since the first took long.
    #[serde(default)]
    pub hedges: u64,
    /// Those of them that the second one answered.
    #[serde(default)]
    pub hedges_won: u64,
    /// Times that an endpoint was ejected.
    #[serde(default)]
    pub ejections: u64,
    /// Requests that were sent to an endpoint out of rotation since nobody was in it.
    #[serde(default)]
    pub failed_open: u64,
    /// Requests that the client gave up.
    pub cancelled: u64,
    /// From the request's head to the last byte of the answer.
    pub latency: Latency,
}

/// A histogram of latencies with buckets that double: bucket `n` counts those under `2ⁿ` microseconds and not under `2ⁿ⁻¹`,
/// each octave split in eight equal parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Latency {
    /// Counts by bucket index, see [`Latency::bucket_of`]; zeros at the end may be missing.
    pub buckets: Vec<u64>,
}

/// Parts of an octave: relative error at most one eighth.
const PARTS: u64 = 8;

impl Latency {
    /// One past the highest bucket: 2⁴⁰ µs is twelve days.
    pub const BUCKETS: usize = 8 * 38 + 8;

    /// The bucket of a latency in microseconds.
    #[must_use]
    pub fn bucket_of(micros: u64) -> usize {
        if micros < PARTS {
            return usize::try_from(micros).unwrap_or(0);
        }
        let octave = u64::from(micros.ilog2()) - 3;
        let part = (micros >> octave) - PARTS;
        let bucket = usize::try_from((octave + 1) * PARTS + part).unwrap_or(usize::MAX);
        bucket.min(Self::BUCKETS - 1)
    }

    /// The upper end of a bucket in microseconds.
    #[must_use]
    pub fn upper_micros(bucket: usize) -> u64 {
        let bucket = bucket as u64;
        if bucket < PARTS {
            return bucket + 1;
        }
        let (octave, part) = (bucket / PARTS - 1, bucket % PARTS);
        (PARTS + part + 1) << octave
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The latency in microseconds under which the share `q` (0 to 1) of all lies; `None` without any.
    #[must_use]
    pub fn quantile_micros(&self, q: f64) -> Option<u64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = ((total as f64) * q.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(Self::upper_micros(bucket));
            }
        }
        None
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bucket: usize| earlier.buckets.get(bucket).copied().unwrap_or(0);
        let buckets =
            self.buckets.iter().enumerate().map(|(n, count)| count.saturating_sub(before(n))).collect();
        Self { buckets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_every_latency_in_order() {
        let mut last = 0;
        for micros in 0..100_000 {
            let bucket = Latency::bucket_of(micros);
            assert!(bucket == last || bucket == last + 1, "{micros}");
            assert!(micros < Latency::upper_micros(bucket), "{micros}");
            last = bucket;
        }
        assert_eq!(Latency::bucket_of(u64::MAX), Latency::BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_within_an_eighth() {
        let mut latency = Latency { buckets: vec![0; Latency::BUCKETS] };
        for micros in 1..=1000 {
            latency.buckets[Latency::bucket_of(micros)] += 1;
        }
        let p99 = latency.quantile_micros(0.99).unwrap();
        assert!((990..1120).contains(&p99), "{p99}");
        assert_eq!(Latency::default().quantile_micros(0.5), None);
    }
}
