//! Bounds of what a pool may ask for. None of them is a recommendation: beyond them is
//! what can only be a mistake.

use super::{TableError, is_token};
use crate::policy::HashKey;
use crate::table::{Algorithm, Pool, PoolId};

const YEAR_SECONDS: u64 = 365 * 86_400;
const QUARTER_HOUR_MILLIS: u64 = 15 * 60 * 1000;
const DAY_MILLIS: u64 = 24 * 4 * QUARTER_HOUR_MILLIS;
/// More than a proxy has memory for.
const MANY: u64 = 1_000_000;

/// What it is called, what it is, the least and the most that it may be.
type Bound = (&'static str, u64, u64, u64);

pub(super) fn check(id: &PoolId, pool: &Pool, errors: &mut Vec<TableError>) {
    let bounds = spreading(pool).chain(ejecting(pool)).chain(trying(pool)).chain(limiting(pool));
    let bounds = bounds.chain(expecting(pool)).chain(leaving(pool));
    for (what, value, least, most) in bounds.filter(|(_, value, least, most)| value < least || value > most) {
        errors.push(TableError::Range { pool: id.to_string(), what, value, least, most });
    }
    if pool.hedge.is_some() && pool.sticky.is_some() {
        errors.push(TableError::HedgeSticky { pool: id.to_string() });
    }
    for (what, name) in names(pool).filter(|(_, name)| !is_token(name)) {
        errors.push(TableError::Name { pool: id.to_string(), what, name: name.to_owned() });
    }
}

fn spreading(pool: &Pool) -> impl Iterator<Item = Bound> {
    let weights =
        pool.endpoints.iter().map(|endpoint| ("an endpoint's weight", endpoint.weight.into(), 1, 256));
    let slow_start = ("slow_start_millis", pool.slow_start_millis, 0, QUARTER_HOUR_MILLIS);
    let bound = match pool.algorithm {
        Algorithm::Hash { bound_percent, .. } if bound_percent > 0 => {
            Some(("algorithm.hash.bound_percent", bound_percent.into(), 101, 1000))
        }
        _ => None,
    };
    let sticky = pool.sticky.as_ref();
    let age = sticky.map(|sticky| ("sticky.max_age_seconds", sticky.max_age_seconds, 0, YEAR_SECONDS));
    weights.chain([slow_start]).chain(bound).chain(age)
}

fn ejecting(pool: &Pool) -> impl Iterator<Item = Bound> {
    pool.outlier.iter().flat_map(|outlier| {
        [
            ("outlier.consecutive", outlier.consecutive.into(), 1, 10_000),
            ("outlier.success_percent", outlier.success_percent.into(), 0, 100),
            ("outlier.min_requests", outlier.min_requests.into(), 1, MANY),
            ("outlier.eject_millis", outlier.eject_millis, 1, outlier.most_millis),
            ("outlier.most_millis", outlier.most_millis, 1, DAY_MILLIS),
            ("outlier.most_percent", outlier.most_percent.into(), 1, 100),
        ]
    })
}

fn expecting(pool: &Pool) -> impl Iterator<Item = Bound> {
    let ranges = pool.probe.expect.iter().flat_map(|expect| &expect.statuses);
    ranges.flat_map(|(least, most)| {
        [
            ("the first of probe.expect.statuses", u64::from(*least), 100, u64::from(*most)),
            ("the last of probe.expect.statuses", u64::from(*most), 100, 599),
        ]
    })
}

fn trying(pool: &Pool) -> impl Iterator<Item = Bound> {
    let retry = &pool.retry;
    let tries = [
        ("retry.attempts", retry.attempts.into(), 0, 5),
        ("retry.connect_attempts", retry.connect_attempts.into(), 0, 5),
        ("retry.budget_percent", retry.budget_percent.into(), 0, 100),
        ("retry.budget_per_second", retry.budget_per_second.into(), 0, MANY),
    ];
    let hedge = pool.hedge.iter().flat_map(|hedge| {
        [
            ("hedge.percentile", hedge.percentile.into(), 50, 99),
            ("hedge.least_millis", hedge.least_millis, 1, QUARTER_HOUR_MILLIS),
            ("hedge.after_millis", hedge.after_millis.unwrap_or(1), 1, QUARTER_HOUR_MILLIS),
        ]
    });
    tries.into_iter().chain(hedge)
}

fn limiting(pool: &Pool) -> impl Iterator<Item = Bound> {
    let in_flight = pool.max_in_flight.map(|most| ("max_in_flight", most.into(), 1, MANY));
    let adaptive = pool.adaptive_limit.iter().flat_map(|limit| {
        let most = u64::from(limit.most);
        [
            ("adaptive_limit.initial", limit.initial.into(), limit.least.into(), most),
            ("adaptive_limit.least", limit.least.into(), 1, most),
            ("adaptive_limit.most", most, 1, MANY),
        ]
    });
    let queue = pool.queue.iter().flat_map(|queue| {
        [
            ("queue.length", queue.length.into(), 1, MANY),
            ("queue.wait_millis", queue.wait_millis, 1, QUARTER_HOUR_MILLIS),
        ]
    });
    in_flight.into_iter().chain(adaptive).chain(queue)
}

fn leaving(pool: &Pool) -> impl Iterator<Item = Bound> {
    let kinds = [
        ("drain.websocket_millis", pool.drain.websocket_millis, 0, DAY_MILLIS),
        ("drain.event_stream_millis", pool.drain.event_stream_millis, 0, DAY_MILLIS),
    ];
    kinds.into_iter()
}

fn names(pool: &Pool) -> impl Iterator<Item = (&'static str, &str)> {
    let key = match &pool.algorithm {
        Algorithm::Hash { key: HashKey::Header(name), .. } => Some(("the header", &**name)),
        Algorithm::Hash { key: HashKey::Cookie(name), .. } => Some(("the cookie", &**name)),
        _ => None,
    };
    key.into_iter().chain(pool.sticky.as_ref().map(|sticky| ("the cookie", &*sticky.cookie)))
}

#[cfg(test)]
mod tests {
    use crate::certificate::Secrets;
    use crate::table::{Algorithm, Pool, Table};

    fn table(pool: &str) -> Result<Table, serde_json::Error> {
        let version = r#""version": {"epoch": 1, "revision": 1}"#;
        serde_json::from_str(&format!(r#"{{{version}, "pools": {{"p": {pool}}}}}"#))
    }

    fn errors(pool: &str) -> Vec<String> {
        let errors = table(pool).unwrap().validate().err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect()
    }

    const ENDPOINT: &str = r#""id": "01890a5d-ac96-774b-bcce-b302099a8057", "address": "127.0.0.1:81""#;

    #[test]
    fn everything_may_be_said() {
        let pool = format!(
            r#"{{"algorithm": {{"hash": {{"key": {{"header": "x-user"}}, "bound_percent": 150}}}},
                "endpoints": [{{{ENDPOINT}, "weight": 256, "priority": 2}}], "slow_start_millis": 0,
                "sticky": {{"cookie": "__Host-lb", "max_age_seconds": 0, "same_site": "none"}},
                "outlier": {{"consecutive": 3}}, "retry": {{"attempts": 0}}, "max_in_flight": 100,
                "adaptive_limit": {{}}, "queue": {{"length": 5}}, "when_all_down": "refuse",
                "probe": {{"kind": {{"type": "http", "path": "/up"}}, "interval_millis": 500, "timeout_millis": 500, "rise": 1,
                    "fall": 2, "expect": {{"statuses": [[200, 204], [301, 301]], "body": "ok"}}}}}}"#
        );
        assert_eq!(errors(&pool), [""; 0]);
        let hedge = r#"{"hedge": {"percentile": 99, "least_millis": 5, "after_millis": 200}}"#;
        assert_eq!(errors(hedge), [""; 0]);
        for key in [r#""address""#, r#""path""#, r#"{"cookie": "sid"}"#] {
            assert_eq!(errors(&format!(r#"{{"algorithm": {{"hash": {{"key": {key}}}}}}}"#)), [""; 0]);
        }
        for algorithm in
            ["round_robin", "weighted_round_robin", "least_connections", "power_of_two", "peak_ewma"]
        {
            assert_eq!(errors(&format!(r#"{{"algorithm": "{algorithm}"}}"#)), [""; 0]);
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_named_with_its_bounds() {
        let pool = format!(
            r#"{{"algorithm": {{"hash": {{"key": {{"header": "x user"}}, "bound_percent": 100}}}},
                "endpoints": [{{{ENDPOINT}, "weight": 0}}], "slow_start_millis": 900001,
                "sticky": {{"cookie": "a;b", "max_age_seconds": 31536001}},
                "outlier": {{"consecutive": 0, "eject_millis": 20, "most_millis": 10}},
                "retry": {{"attempts": 6, "budget_percent": 101}}, "max_in_flight": 0,
                "adaptive_limit": {{"least": 30}}, "hedge": {{"percentile": 100, "after_millis": 0}}, "queue": {{"length": 0, "wait_millis": 0}}}}"#
        );
        let errors = errors(&pool);
        assert_eq!(errors.len(), 17, "{errors:#?}");
        assert!(errors.iter().any(|error| error.contains("`hedge` asks another endpoint")));
        assert_eq!(errors[0], "pool `p`: an endpoint's weight is 0; it must be 1 to 256");
        assert!(errors.contains(&"pool `p`: outlier.eject_millis is 20; it must be 1 to 10".to_owned()));
        assert!(errors.iter().any(|error| error.contains("`x user`")));
    }

    #[test]
    fn expected_statuses_are_statuses_in_order() {
        let probe = |statuses: &str| {
            errors(&format!(
                r#"{{"probe": {{"kind": {{"type": "tcp"}}, "interval_millis": 1, "timeout_millis": 1, "rise": 1, "fall": 1,
                    "expect": {{"statuses": {statuses}}}}}}}"#
            ))
        };
        assert_eq!(probe("[[200, 399], [404, 404]]"), [""; 0]);
        assert_eq!(probe("[[300, 200]]").len(), 1);
        assert_eq!(probe("[[20, 600]]").len(), 2);
    }

    #[test]
    fn a_balancing_key_is_checked_kept_and_not_shown() {
        let read = |key: &str| {
            let text = format!(
                r#"{{"version": {{"epoch": 1, "revision": 1}}, "secret": {{"balancing_key": "{key}"}}}}"#
            );
            serde_json::from_str::<Table>(&text)
        };
        let digits = "00112233445566778899aabbccddeeff";
        let table = read(digits).unwrap();
        assert!(serde_json::to_string(&table).unwrap().contains(digits));
        assert!(!format!("{table:?}").contains("11, 22") && !format!("{table:?}").contains("1122"));
        for wrong in ["", "0", "+0112233445566778899aabbccddeeff", "zz112233445566778899aabbccddeeff"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("32 hexadecimal digits"), "{error}");
        }
        assert!(!table.same_content(&Table { secret: Secrets::default(), ..table.clone() }));
        assert!(!serde_json::to_string(&table.public()).unwrap().contains(digits));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for pool in [
            r#"{"algorithm": "random"}"#,
            r#"{"algorithm": {"hash": {"key": "address", "vnodes": 3}}}"#,
            r#"{"algorithm": {"hash": {"key": "port"}}}"#,
            r#"{"sticky": {"ttl": 3}}"#,
            r#"{"outlier": {"interval": 3}}"#,
            r#"{"retries": 3}"#,
        ] {
            assert!(table(pool).is_err(), "{pool}");
        }
    }

    #[test]
    fn an_older_table_reads_and_writes_as_before() {
        let old = format!(
            r#"{{"algorithm":"least_connections","endpoints":[{{{ENDPOINT},"name":"web-1","state":"active"}}],"probe":{{"kind":{{"type":"tcp"}},"interval_millis":500,"timeout_millis":500,"rise":1,"fall":2}},"timeouts":{{"connect_millis":2000,"response_millis":60000,"idle_millis":300000}}}}"#
        );
        let pool: Pool = serde_json::from_str(&old).unwrap();
        assert_eq!(pool.algorithm, Algorithm::LeastConnections);
        assert_eq!((pool.slow_start_millis, pool.endpoints[0].weight), (15_000, 1));
        assert!(pool.outlier.is_some() && pool.sticky.is_none());
        let written: serde_json::Value = serde_json::to_value(&pool).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(&old).unwrap());
    }

    #[test]
    fn ejection_can_be_turned_off_and_stays_off_when_written() {
        let off: Pool = serde_json::from_str(r#"{"outlier": null}"#).unwrap();
        assert_eq!(off.outlier, None);
        let again: Pool = serde_json::from_str(&serde_json::to_string(&off).unwrap()).unwrap();
        assert_eq!(again, off);
        assert!(!off.same_settings(&Pool::default()) && off.same_settings(&again));
    }
}
