use pando_model::time::Timestamp;

use super::*;
use crate::printer::Paint;

/// A look at two replicas by two load balancers; `n` looks on, counts have grown.
fn look(second: i64, n: u64) -> EndpointTraffic {
    let now = Timestamp::from_millis(second * 1000);
    let seen = |server: &str, by_class: [u64; 5], failed: u64| {
        serde_json::json!({
            "server": server, "boot": "01890000-0000-7000-8000-000000000001", "heard_at": now,
            "in_rotation": true, "ejected": null, "in_flight": 3, "by_class": by_class, "failed": failed, "rtt_micros": 12_340,
        })
    };
    let mut out = seen("lb-2", [0, 7, 0, 0, 5 * n], 2 * n);
    out["ejected"] = serde_json::json!({
        "endpoint": "01890000-0000-7000-8000-000000000002", "reason": {"type": "consecutive", "failures": 5, "last": "reset"},
        "text": "5 failures in a row, the last: reset", "times": 1, "since_millis": 0, "until_millis": 10_000,
    });
    let value = serde_json::json!({"now": now, "endpoints": [
        {"pool": "hits/web", "name": "web-1", "address": "10.0.0.1:4000", "draining": false,
         "seen": [seen("lb-1", [0, 100 * n, 0, 4 * n, 0], 0), seen("lb-2", [0, 20 * n, 0, 0, 0], 0)]},
        {"pool": "hits/web", "name": "web-2", "address": "10.0.0.2:4000", "draining": false, "seen": [out]},
        {"pool": "hits/web", "name": "web-3", "address": "10.0.0.3:4000", "draining": true, "seen": []},
        {"pool": "hits/web", "name": "web-4", "address": "10.0.0.4:4000", "draining": false, "seen": []},
    ]});
    serde_json::from_value(value).unwrap()
}

#[test]
fn rates_are_of_the_time_between_two_looks_over_all_load_balancers() {
    let rows = rows(&look(100, 1), &look(102, 3));
    let rate = |n: usize| (rows[n].requests, rows[n].client_errors, rows[n].server_errors, rows[n].failed);
    assert_eq!(rate(0), (124.0, 4.0, 0.0, 0.0));
    assert_eq!(rate(1), (5.0, 0.0, 5.0, 2.0));
    let states: Vec<_> = rows.iter().map(|row| row.state).collect();
    assert_eq!(states, [State::InRotation, State::Ejected, State::Draining, State::Unknown]);
    assert_eq!(rows[1].reasons, ["lb-2: 5 failures in a row, the last: reset"]);
}

#[test]
fn what_a_check_found_is_told_where_it_is_known() {
    let mut now = look(102, 3);
    let seen = &mut now.endpoints[1].seen[0];
    (seen.ejected, seen.in_rotation) = (None, false);
    assert_eq!(rows(&look(100, 1), &now)[1].reasons, ["lb-2: its check does not pass"]);
    now.endpoints[1].seen[0].why_out = Some("its answer has the status 500".to_owned());
    let row = &rows(&look(100, 1), &now)[1];
    assert_eq!(
        (row.state, &*row.reasons[0]),
        (State::Out, "lb-2: its check does not pass: its answer has the status 500")
    );
}

#[test]
fn a_load_balancer_that_is_new_counts_from_here_on() {
    let mut before = look(100, 1);
    before.endpoints[0].seen.clear();
    assert_eq!(rows(&before, &look(102, 3))[0].requests, 0.0);
}

#[test]
fn the_table_shows_what_there_is() {
    insta::assert_snapshot!(lines(&rows(&look(100, 1), &look(102, 3)), Paint::plain()).join("\n"));
}
