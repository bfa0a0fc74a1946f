use super::*;

fn rule(json: &str) -> Rule {
    serde_json::from_str(json).unwrap()
}

/// What an older proxy reads is written for rules that ask for nothing new.
#[test]
fn a_plain_rule_reads_and_writes_as_before() {
    let json = r#"{"host":"example.com","path":"/api","pool":"web","strip_prefix":true}"#;
    let plain = rule(json);
    assert_eq!(plain.prefix(), Some("/api"));
    assert_eq!(serde_json::to_string(&plain).unwrap(), json);
    let least = rule(r#"{"host": "*", "pool": "web"}"#);
    assert_eq!(least, Rule::new(Host::Any, "/", PoolId("web".to_owned())));
    assert_eq!(rule(r#"{"host": "*", "pool": "web", "when": {}, "filters": {}}"#), least);
}

#[test]
fn everything_that_can_be_said_comes_back_as_it_was() {
    let json = r#"{"name":"shop","host":"*.example.com","path":{"pattern":"/u/{id}"},
        "when":{"methods":["GET"],"headers":{"x-beta":{"is":"1"},"x-old":"absent"},"cookies":{"side":{"one_of":["a","b"]}},
            "query":{"v":{"starts_with":"2"}},"from":["10.0.0.0/8"],"tls":true},
        "split":{"sides":[{"pool":"web","weight":95},{"pool":"canary","weight":5}],"stick":{"cookie":{"name":"side","max_age_seconds":60,"same_site":"lax"}}},
        "strip_prefix":false,
        "filters":{"rewrite":{"to":"/users/{id}"},"request_headers":{"set":{"x-user":"{id}"},"add":{"via":"{route}"},"remove":["cookie"]},
            "response_headers":{"set":{"x-id":"{request_id}"}},"allow":["10.0.0.0/8"],"deny":["10.1.0.0/16"],
            "basic_auth":{"users":"staff","realm":"Shop","pass_on":true},
            "forward_auth":{"pool":"auth","path":"/check?x=1","send":["cookie"],"copy":["x-user"],"timeout_millis":100},
            "rate_limits":[{"name":"burst","requests":10,"window_seconds":1,"burst":20,"key":{"network":{"v4":24,"v6":48}},"subjects":100}],
            "cors":{"origins":["https://*.example.com"],"methods":["PUT"],"headers":["x-a"],"expose":["x-b"],"credentials":true,"max_age_seconds":5},
            "compression":{"encodings":["gzip"],"types":["text/*"],"min_bytes":1,"event_streams":true},
            "buffer_request":{"max_bytes":1},"buffer_response":{"max_bytes":2},"error_pages":"shop",
            "mirror":{"pool":"shadow","percent":10,"max_body_bytes":0,"max_in_flight":1},
            "maintenance":{"retry_after_seconds":10,"allow":["10.0.0.1/32"],"message":"Back soon."},"pause":{"hold_millis":5,"most":6}}}"#;
    let expected: serde_json::Value = serde_json::from_str(json).unwrap();
    let read = rule(json);
    assert_eq!(serde_json::to_value(&read).unwrap(), expected);
    let pools: Vec<_> = read.pools().map(|pool| &*pool.0).collect();
    assert_eq!(pools, ["web", "canary", "auth", "shadow"]);
    for json in [
        r#"{"host":"a","path":{"exact":"/x"},"redirect":{"status":308,"scheme":"https","host":"b.example","port":8443,"path":{"prefix":"/y"},"keep_query":false},"strip_prefix":false}"#,
        r#"{"host":"a","path":"/","respond":{"status":404,"headers":{"x":"{host}"},"body":"no"},"strip_prefix":false}"#,
        r#"{"host":"a","path":"/","split":{"sides":[],"stick":{"hash":"address"}},"strip_prefix":false}"#,
    ] {
        let expected: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_value(rule(json)).unwrap(), expected);
    }
}

#[test]
fn a_rule_leads_to_one_place() {
    for wrong in [
        r#"{"host": "a"}"#,
        r#"{"host": "a", "pool": "p", "redirect": {}}"#,
        r#"{"host": "a", "pool": "p", "path": {"regex": "x"}}"#,
        r#"{"host": "a", "pool": "p", "path": {"pattern": "/{a"}}"#,
        r#"{"host": "a", "pool": "p", "path": 7}"#,
        r#"{"host": "a", "pool": "p", "filters": {"cahce": {}}}"#,
        r#"{"host": "a", "pool": "p", "when": {"header": {}}}"#,
        r#"{"host": "a", "pool": "p", "filters": {"request_headers": {"set": {"x": "{nope"}}}}"#,
    ] {
        assert!(serde_json::from_str::<Rule>(wrong).is_err(), "{wrong}");
    }
    let error = serde_json::from_str::<Rule>(r#"{"host": "a", "path": "/x"}"#).unwrap_err().to_string();
    assert!(error.contains("`a/x`") && error.contains("exactly one"), "{error}");
}
