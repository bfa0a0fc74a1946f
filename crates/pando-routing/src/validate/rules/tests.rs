use crate::table::Table;

fn errors_of(rules: &str, more: &str) -> Vec<String> {
    let version = r#""version": {"epoch": 1, "revision": 1}"#;
    let pools = r#""pools": {"web": {}, "canary": {}}"#;
    let text = format!(r#"{{{version}, "rules": [{rules}], {pools}{more}}}"#);
    let table: Table = serde_json::from_str(&text).unwrap();
    let errors = table.validate().err().unwrap_or_default();
    errors.iter().map(ToString::to_string).collect()
}

fn errors(rules: &str) -> Vec<String> {
    errors_of(rules, "")
}

#[test]
fn rules_for_one_path_must_ask_for_different_things() {
    let alike = |when: &str| format!(r#"{{"host": "a", "path": "/x/", "pool": "web", "when": {when}}}"#);
    let plain = r#"{"host": "a", "path": "/x", "pool": "web"}"#;
    assert_eq!(errors(&format!(r#"{plain}, {}"#, alike(r#"{"tls": true}"#))), [""; 0]);
    let exact = r#"{"host": "a", "path": {"exact": "/x"}, "pool": "web"}"#;
    assert_eq!(errors(&format!("{plain}, {exact}")), [""; 0]);
    let twice = errors(&format!("{plain}, {}", alike("{}")));
    assert_eq!(twice, ["two rules for `a/x/`, which ask for the same"]);
    let named = r#"{"name": "n", "host": "a", "pool": "web"}, {"name": "n", "host": "b", "pool": "web"}"#;
    assert_eq!(errors(named), ["two rules are called `n`"]);
}

#[test]
fn what_is_walked_is_bounded() {
    let patterns: Vec<_> = (0..257)
        .map(|n| format!(r#"{{"host": "a", "path": {{"pattern": "/{n}/{{x}}"}}, "pool": "web"}}"#))
        .collect();
    assert_eq!(errors(&patterns.join(",")), ["host `a` has 257 rules with patterns; at most 256 are taken"]);
    let alike: Vec<_> = (0..65)
        .map(|n| format!(r#"{{"host": "a", "pool": "web", "when": {{"query": {{"q": {{"is": "{n}"}}}}}}}}"#))
        .collect();
    assert_eq!(errors(&alike.join(",")).len(), 1);
}

#[test]
fn what_rate_limits_remember_is_bounded_as_a_whole() {
    let rule = |n: u32| {
        format!(
            r#"{{"host": "h{n}", "pool": "web", "filters": {{"rate_limits": [{{"requests": 1, "window_seconds": 1, "subjects": 1000000}}]}}}}"#
        )
    };
    let rules = |count| (0..count).map(rule).collect::<Vec<_>>().join(",");
    assert_eq!(errors(&rules(8)), [""; 0]);
    assert!(errors(&rules(9))[0].contains("9000000 subjects"));
}

#[test]
fn each_fault_is_named() {
    for (rule, said) in [
        (r#""path": "x", "pool": "web""#, "unlike `x`"),
        (r#""path": {"exact": "/a?b"}, "pool": "web""#, "unlike `/a?b`"),
        (r#""pool": "gone""#, "names the pool `gone`"),
        (
            r#""split": {"sides": [{"pool": "web", "weight": 1}, {"pool": "gone", "weight": 1}]}"#,
            "names the pool `gone`",
        ),
        (r#""split": {"sides": [{"pool": "web", "weight": 1}]}"#, "must be 2 to 16"),
        (
            r#""split": {"sides": [{"pool": "web", "weight": 0}, {"pool": "canary", "weight": 0}]}"#,
            "weight 0",
        ),
        (
            r#""split": {"sides": [{"pool": "web", "weight": 1}, {"pool": "web", "weight": 2}]}"#,
            "`web` is there twice",
        ),
        (r#""redirect": {}"#, "lead to itself"),
        (r#""redirect": {"status": 200, "scheme": "https"}"#, "status 200"),
        (r#""redirect": {"host": "*.a"}"#, "not to `*.a`"),
        (r#""redirect": {"path": {"to": "x"}}"#, "unlike `x`"),
        (r#""redirect": {"path": {"to": "/{id}"}}"#, "`{id}` stands for nothing"),
        (r#""path": {"exact": "/a"}, "redirect": {"path": {"prefix": "/b"}}"#, "only a prefix"),
        (r#""respond": {"status": 100}"#, "200 to 599"),
        (r#""respond": {"status": 204, "body": "x"}"#, "no body"),
        (r#""respond": {"headers": {"content-length": "3"}}"#, "framed"),
        (r#""path": {"pattern": "/{id}"}, "pool": "web", "strip_prefix": true"#, "only a prefix"),
        (r#""name": "a\u0000b", "pool": "web""#, "name has 1 to 100"),
        (r#""when": {"methods": ["G T"]}, "pool": "web""#, "`G T`"),
        (r#""when": {"headers": {"x y": "present"}}, "pool": "web""#, "`x y`"),
        (r#""pool": "web", "strip_prefix": true, "filters": {"rewrite": {"prefix": "/x"}}"#, "both say"),
        (r#""pool": "web", "filters": {"request_headers": {"set": {"a b": "c"}}}"#, "`a b`"),
        (r#""pool": "web", "filters": {"request_headers": {"remove": ["Transfer-Encoding"]}}"#, "framed"),
        (r#""pool": "web", "filters": {"request_headers": {"remove": ["Host"]}}"#, "`Host`"),
        (r#""pool": "web", "filters": {"request_headers": {"add": {"host": "b"}}}"#, "one `host`"),
        (r#""pool": "web", "filters": {"response_headers": {"set": {"x": "{id}"}}}"#, "`{id}`"),
        (r#""pool": "web", "filters": {"basic_auth": {"users": "staff"}}"#, "no `staff` among secret.users"),
        (r#""pool": "web", "filters": {"forward_auth": {"pool": "gone", "path": "/"}}"#, "`gone`"),
        (r#""pool": "web", "filters": {"forward_auth": {"pool": "web", "path": "x"}}"#, "`x`"),
        (
            r#""pool": "web", "filters": {"forward_auth": {"pool": "web", "path": "/", "copy": ["te"]}}"#,
            "`te`",
        ),
        (
            r#""pool": "web", "filters": {"rate_limits": [{"requests": 0, "window_seconds": 1}]}"#,
            "requests is 0",
        ),
        (
            r#""pool": "web", "filters": {"rate_limits": [{"requests": 1, "window_seconds": 1}, {"requests": 2, "window_seconds": 1}]}"#,
            "twice",
        ),
        (
            r#""pool": "web", "filters": {"rate_limits": [{"requests": 1, "window_seconds": 1, "key": {"network": {"v4": 33}}}]}"#,
            "network.v4 is 33",
        ),
        (r#""pool": "web", "filters": {"cors": {"origins": []}}"#, "cors.origins must not be empty"),
        (
            r#""pool": "web", "filters": {"cors": {"origins": ["*"], "credentials": true}}"#,
            "name the origins",
        ),
        (r#""pool": "web", "filters": {"compression": {"encodings": []}}"#, "must not be empty"),
        (r#""pool": "web", "filters": {"compression": {"types": ["text"]}}"#, "media type"),
        (r#""pool": "web", "filters": {"buffer_request": {"max_bytes": 0}}"#, "max_bytes is 0"),
        (r#""pool": "web", "filters": {"error_pages": "shop"}"#, "no `shop` among error_pages"),
        (r#""pool": "web", "filters": {"mirror": {"pool": "web", "percent": 101}}"#, "mirror.percent"),
        (r#""pool": "web", "filters": {"maintenance": {"retry_after_seconds": 0}}"#, "retry_after_seconds"),
        (r#""pool": "web", "filters": {"pause": {"hold_millis": 300001}}"#, "pause.hold_millis"),
    ] {
        let found = errors(&format!(r#"{{"host": "a", {rule}}}"#));
        assert!(found.iter().any(|error| error.contains(said)), "{rule}: {found:?}");
        assert!(found.iter().all(|error| error.starts_with("rule `a")), "{found:?}");
    }
}

#[test]
fn a_rule_with_everything_is_taken() {
    let rule = r#"{"name": "shop", "host": "a", "path": {"pattern": "/u/{id}"}, "pool": "web",
        "filters": {"rewrite": {"to": "/users/{id}"}, "request_headers": {"set": {"host": "inner", "x": "{id}"}, "remove": ["cookie"]},
            "basic_auth": {"users": "staff"}, "forward_auth": {"pool": "canary", "path": "/auth"},
            "rate_limits": [{"requests": 1, "window_seconds": 60}], "cors": {"origins": ["*"]}, "compression": {},
            "buffer_request": {}, "buffer_response": {}, "error_pages": "shop", "mirror": {"pool": "canary"}, "maintenance": {}, "pause": {}}}"#;
    let more = r#", "error_pages": {"shop": {"pages": {"5xx": {"html": "<p>{message}</p>"}}}},
        "secret": {"users": {"staff": {"ann": "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe"}}}"#;
    assert_eq!(errors_of(rule, more), [""; 0]);
}

#[test]
fn pages_and_users_are_checked() {
    let large = "x".repeat(65_537);
    let more = format!(
        r#", "error_pages": {{"default": {{"pages": {{"404": {{"text": "{large}"}}}}}}}},
            "secret": {{"users": {{"staff": {{"ann": "plain", "b:b": "$6$x"}}}}}}"#
    );
    let found = errors_of("", &more);
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(!found.iter().any(|error| error.contains("plain")), "a password is not repeated: {found:?}");
}
