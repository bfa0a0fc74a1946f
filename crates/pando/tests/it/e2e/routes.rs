//! Traffic rules of `pando.yaml`, as visitors meet them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::bed::{Bed, Settings, kill};

#[test]
fn e2e_traffic_rules_of_the_file_are_followed() {
    let bed = Bed::prepare(Settings::default());
    let text = "name: hits\nsource: .\nhealth: {path: /health, start_timeout: 6s}\n\
        processes: {web: {command: bin/hits}, beta: {command: bin/hits, load_balancing: {algorithm: least_connections}}}\n\
        routes:\n\
        \x20 - {path: {exact: /old}, redirect: {to: /new, status: 301}}\n\
        \x20 - {path: /robots.txt, respond: 'User-agent: *'}\n\
        \x20 - {when: {headers: {x-beta: 1}}, process: beta}\n\
        \x20 - {path: /shared, rewrite: {prefix: /}, split: {web: 50, beta: 50}}\n\
        \x20 - {path: /scarce, rewrite: {prefix: /}, rate_limit: 3/h, headers: {response: {set: {x-scarce: yes}}}}\n";
    std::fs::write(bed.path("pando.yaml"), text).unwrap();
    bed.ok(&["dev", "--detach", "--port", &bed.port.to_string()]);

    let redirected = ask(&bed, "/old?a=b", "");
    assert!(redirected.starts_with("HTTP/1.1 301 "), "{redirected}");
    assert!(redirected.to_lowercase().contains("/new?a=b\r\n"), "{redirected}");
    let robots = ask(&bed, "/robots.txt", "");
    assert!(robots.starts_with("HTTP/1.1 200 ") && robots.ends_with("User-agent: *"), "{robots}");
    assert_eq!(replica(&ask(&bed, "/", "")), "web-1");
    assert_eq!(replica(&ask(&bed, "/", "X-Beta: 1\r\n")), "beta-1");

    let mut sides = BTreeMap::new();
    for _ in 0..200 {
        *sides.entry(replica(&ask(&bed, "/shared/", ""))).or_insert(0) += 1;
    }
    // 200 draws of a fair coin: further from 100 than 50 is once in 10^12.
    assert!(sides.len() == 2 && sides.values().all(|count| (50..=150).contains(count)), "{sides:?}");

    let answers: Vec<String> = (0..4).map(|_| ask(&bed, "/scarce/", "")).collect();
    let limited: Vec<bool> = answers.iter().map(|answer| answer.starts_with("HTTP/1.1 429 ")).collect();
    assert_eq!(limited, [false, false, false, true], "{answers:?}");
    assert!(answers[0].to_lowercase().contains("x-scarce: yes"), "{}", answers[0]);
    assert!(answers[3].to_lowercase().contains("retry-after: "), "{}", answers[3]);
}

/// Of `open sesame`, by bcrypt.
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW";

#[test]
fn e2e_a_password_keeps_strangers_out_whatever_happens_to_the_load_balancer() {
    let bed = Bed::prepare(Settings::default());
    let text = format!(
        "name: hits\nsource: .\nhealth: {{path: /health, start_timeout: 6s}}\nprocesses: {{web: {{command: bin/hits}}}}\n\
         routes:\n\x20 - {{path: /staff, rewrite: {{prefix: /}}, basic_auth: {{users: {{ann: \"{HASH}\"}}}}}}\n"
    );
    std::fs::write(bed.path("pando.yaml"), text).unwrap();
    bed.ok(&["dev", "--detach", "--port", &bed.port.to_string()]);
    let check = || {
        // ann:open sesame, ann:open barley
        let right = ask(&bed, "/staff/", "Authorization: Basic YW5uOm9wZW4gc2VzYW1l\r\n");
        assert!(right.starts_with("HTTP/1.1 200 "), "{right}");
        for wrong in ["", "Authorization: Basic YW5uOm9wZW4gYmFybGV5\r\n"] {
            let refused = ask(&bed, "/staff/", wrong);
            assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
            assert!(refused.to_lowercase().contains("www-authenticate: basic "), "{refused}");
        }
        assert!(ask(&bed, "/", "").starts_with("HTTP/1.1 200 "), "the rest is open");
    };
    check();
    kill(bed.proxy_pid());
    check();
}

/// The whole answer, on a connection of its own, as JSON unless the headers say something else.
pub(super) fn ask(bed: &Bed, path: &str, headers: &str) -> String {
    let accept = if headers.contains("Accept:") { "" } else { "Accept: application/json\r\n" };
    let mut stream = TcpStream::connect(bed.address()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{accept}{headers}Connection: close\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Who answered.
fn replica(answer: &str) -> String {
    let line = answer.lines().find_map(|line| line.strip_prefix("x-hits-replica: "));
    line.unwrap_or_else(|| panic!("{answer}")).to_owned()
}
