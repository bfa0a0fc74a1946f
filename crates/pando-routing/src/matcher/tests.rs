use proptest::prelude::*;

use super::*;
use crate::rule::when::tests::Request;
use crate::rule::{PathMatch, Rule, Test, When};
use crate::table::PoolId;

fn table(rules: &[(&str, &str, &str)]) -> Table {
    let rule = |(host, path, pool): &(&str, &str, &str)| Rule {
        strip_prefix: path.len() > 1,
        ..Rule::new(host.parse().unwrap(), *path, PoolId((*pool).to_owned()))
    };
    Table { rules: rules.iter().map(rule).collect(), ..Table::default() }
}

fn written(rules: &str) -> Table {
    Table { rules: serde_json::from_str(rules).unwrap(), ..Table::default() }
}

fn find(matcher: &Matcher, host: &str, path: &str) -> Option<Match> {
    matcher.find(host.as_bytes(), path.as_bytes(), &Request::default())
}

#[test]
fn the_most_exact_host_then_the_longest_path_wins() {
    let table = table(&[
        ("*", "/", "any"),
        ("a.example", "/", "a"),
        ("a.example", "/api", "api"),
        ("a.example", "/api/v2/", "v2"),
        ("*.example", "/", "wild"),
        ("*.b.example", "/only", "deep"),
    ]);
    let matcher = Matcher::new(&table);
    for (host, path, pool, strip) in [
        ("a.example", "/", "a", ""),
        ("A.EXAMPLE:8080", "/x", "a", ""),
        ("a.example.", "/api", "api", "/api"),
        ("a.example", "/api/v2", "v2", "/api/v2"),
        ("a.example", "/api/v20", "api", "/api"),
        ("a.example", "/apiary", "a", ""),
        ("x.b.example", "/only/x", "deep", "/only"),
        ("x.b.example", "/other", "wild", ""),
        ("example", "/", "any", ""),
        ("[::1]:80", "/", "any", ""),
        ("", "*", "any", ""),
    ] {
        let found = find(&matcher, host, path).unwrap();
        assert_eq!(
            table.rules[found.rule].to,
            crate::rule::Destination::Pool(PoolId(pool.to_owned())),
            "{host}{path}"
        );
        assert_eq!(&path[..found.strip], strip, "{host}{path}");
    }
}

#[test]
fn without_a_rule_there_is_no_match() {
    let matcher = Matcher::new(&table(&[("a.example", "/api", "api")]));
    assert_eq!(find(&matcher, "a.example", "/"), None);
    assert_eq!(find(&matcher, "b.example", "/api"), None);
    let long = "a".repeat(10_000);
    assert_eq!(find(&matcher, &long, "/api"), None);
}

#[test]
fn whole_paths_go_before_patterns_and_those_before_prefixes() {
    let table = written(
        r#"[{"host": "a", "pool": "root"},
            {"host": "a", "path": "/users/7/posts", "pool": "prefix"},
            {"host": "a", "path": {"pattern": "/users/{id}/{what}"}, "pool": "vague"},
            {"host": "a", "path": {"pattern": "/users/{rest...}"}, "pool": "vaguest"},
            {"host": "a", "path": {"pattern": "/users/{id}/posts"}, "pool": "pattern"},
            {"host": "a", "path": {"pattern": "/users/{id}/p{x}"}, "pool": "mixed"},
            {"host": "a", "path": {"exact": "/users/7/posts"}, "pool": "exact"}]"#,
    );
    let matcher = Matcher::new(&table);
    for (path, rule) in [
        ("/users/7/posts", 6),
        ("/users/8/posts", 4),
        ("/users/8/pages", 5),
        ("/users/8/likes", 2),
        ("/users/8/posts/", 3),
        ("/users", 3),
        ("/other", 0),
    ] {
        assert_eq!(find(&matcher, "a", path).unwrap().rule, rule, "{path}");
    }
}

#[test]
fn who_asks_for_more_goes_first_and_the_next_best_is_tried() {
    let table = written(
        r#"[{"host": "a", "pool": "plain"},
            {"host": "a", "pool": "post", "when": {"methods": ["POST"]}},
            {"host": "a", "pool": "first", "when": {"headers": {"x-beta": "present"}}},
            {"host": "a", "pool": "both", "when": {"methods": ["POST"], "headers": {"x-beta": {"is": "2"}}}},
            {"host": "a", "path": "/api", "pool": "api", "when": {"methods": ["POST"]}},
            {"host": "a", "path": {"exact": "/x"}, "pool": "x", "when": {"query": {"q": "present"}}},
            {"host": "b", "pool": "b", "when": {"tls": true}},
            {"host": "*", "pool": "any"}]"#,
    );
    let matcher = Matcher::new(&table);
    let post = Request { method: "POST", ..Request::default() };
    let beta = Request { headers: vec![("X-Beta", "1")], ..Request::default() };
    let both = Request { method: "POST", headers: vec![("x-beta", "2")], ..Request::default() };
    let asked = Request { query: "q", ..Request::default() };
    let secure = Request { tls: true, ..Request::default() };
    for (request, host, path, rule) in [
        (&Request::default(), "a", "/", 0),
        (&post, "a", "/", 1),
        (&beta, "a", "/", 2),
        (&Request { method: "POST", ..beta.clone() }, "a", "/", 1),
        (&both, "a", "/", 3),
        (&both, "a", "/api/x", 4),
        (&beta, "a", "/api/x", 2),
        (&asked, "a", "/x", 5),
        (&post, "a", "/x", 1),
        (&secure, "b", "/", 6),
        (&post, "b", "/", 7),
    ] {
        let found = matcher.find(host.as_bytes(), path.as_bytes(), request).unwrap();
        assert_eq!(found.rule, rule, "{request:?} {host}{path}");
    }
}

/// Few rules are walked and many are looked up: what they find is the same.
#[test]
fn many_rules_match_as_few_do() {
    let paths = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/b/c", "/c/d/e", "/d", "/e"];
    let rules: Vec<_> = paths.iter().map(|path| ("*", *path, *path)).collect();
    let many = Matcher::new(&table(&rules));
    assert!(!many.any.by_prefix.is_empty());
    let mut few = many.clone();
    few.any.by_prefix.clear();
    for path in ["/", "", "*", "/a", "/a/", "/a/b/x", "/abc", "/ab/c", "/c/d", "/c/d/e/f", "//a", "/e/"] {
        assert_eq!(find(&many, "h", path), find(&few, "h", path), "{path}");
    }
}

fn some_path() -> impl Strategy<Value = PathMatch> {
    let segments =
        || proptest::collection::vec("[ab]", 0..3).prop_map(|parts| format!("/{}", parts.join("/")));
    let place = prop_oneof!["[ab]".prop_map(String::from), Just("{x}".to_owned())];
    let pattern = (place, "[ab]").prop_map(|(first, second)| format!("/{first}/{second}"));
    prop_oneof![
        segments().prop_map(PathMatch::Prefix),
        segments().prop_map(PathMatch::Exact),
        pattern.prop_map(|text| PathMatch::Pattern(text.parse().unwrap())),
    ]
}

fn some_rule() -> impl Strategy<Value = Rule> {
    let host = prop_oneof![Just("*"), Just("*.h"), Just("*.b.h"), Just("a.h"), Just("a.b.h")];
    (host, some_path(), 0u8..4).prop_map(|(host, path, asks)| {
        let mut when = When::default();
        if asks & 1 > 0 {
            when.methods.push("POST".to_owned());
        }
        if asks & 2 > 0 {
            when.headers.insert("x".into(), Test::Present);
        }
        Rule { path, when, ..Rule::new(host.parse().unwrap(), "/", PoolId("p".to_owned())) }
    })
}

/// As the documentation has it, without any index.
fn by_the_book(rules: &[Rule], host: &str, path: &str, request: &Request) -> Option<usize> {
    let host_rank = |rule: &Rule| match &rule.host {
        Host::Exact(name) => (name == host).then_some(1000),
        Host::Wildcard(parent) => host.strip_suffix(&**parent)?.ends_with('.').then_some(parent.len()),
        Host::Any => Some(0),
    };
    let path_rank = |rule: &Rule| match &rule.path {
        PathMatch::Exact(whole) => (whole == path).then_some((2, 0)),
        PathMatch::Pattern(pattern) => {
            let literal = usize::from(!pattern.text().contains('{'));
            pattern.matches(path.as_bytes()).then_some((1, literal))
        }
        PathMatch::Prefix(prefix) => {
            let prefix = prefix.trim_end_matches('/');
            let rest = path.strip_prefix(prefix)?;
            (rest.is_empty() || rest.starts_with('/')).then_some((0, prefix.len()))
        }
    };
    let ranked =
        rules.iter().enumerate().filter(|(_, rule)| rule.when.holds(request)).filter_map(|(n, rule)| {
            Some((host_rank(rule)?, path_rank(rule)?, rule.when.count(), std::cmp::Reverse(n)))
        });
    ranked.max().map(|(.., std::cmp::Reverse(n))| n)
}

proptest! {
    #[test]
    fn what_is_found_is_what_the_book_says(
        rules in proptest::collection::vec(some_rule(), 0..30),
        host in prop_oneof![Just("a.h"), Just("a.b.h"), Just("c.b.h"), Just("h"), Just("other")],
        path in proptest::collection::vec("[ab]", 0..4),
        post in any::<bool>(),
        header in any::<bool>(),
    ) {
        let path = format!("/{}", path.join("/"));
        let request = Request {
            method: if post { "POST" } else { "GET" },
            headers: if header { vec![("X", "1")] } else { vec![] },
            ..Request::default()
        };
        let matcher = Matcher::new(&Table { rules: rules.clone(), ..Table::default() });
        let found = matcher.find(host.as_bytes(), path.as_bytes(), &request).map(|found| found.rule);
        prop_assert_eq!(found, by_the_book(&rules, host, &path, &request));
    }
}
