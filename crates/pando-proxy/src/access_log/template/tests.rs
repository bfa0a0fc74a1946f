use std::time::Duration;

use super::*;
use crate::access_log::line::Outcome;
use crate::asked::Asked as Paper;
use crate::client::Client;
use crate::forward::Id;
use crate::inbox::Inbox;

const NGINX: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

fn line(template: &str, fields: &str, status: u16) -> String {
    let template = Template::parse(template).unwrap();
    let mut paper = Paper::blank();
    paper.bytes =
        Inbox::holding(format!("GET /%61/../b?q=1 HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n").as_bytes());
    let inner = &mut *paper;
    inner.head.read(inner.bytes.bytes(), &pando_http::Limits::default()).unwrap();
    paper.spell_path();
    let client = Client::new("10.0.0.1:1".parse().unwrap(), true);
    let id = Id::Made(*b"01a1fe43-c619-777a-8f51-5907d6d9f11d");
    let mut begun = Vec::new();
    template
        .begin(&Asked { paper: &paper, client: &client, id: &id, at_millis: 1_793_614_830_456 }, &mut begun);
    let ended = Ended {
        status,
        bytes: 12,
        took: Duration::from_micros(1_234_567),
        pool: Some("shop/web"),
        endpoint: Some("10.0.0.2:80".parse().unwrap()),
        route: None,
        retries: 1,
        outcome: Outcome::Whole,
        trace: None,
    };
    let mut out = Vec::new();
    template.end(&begun, &ended, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn nginx_s_own_format_is_a_template() {
    let fields = "authorization: Basic YW5uOmh1c2g=\r\nuser-agent: curl/8\r\n";
    let expected =
        "10.0.0.1 - ann [02/Nov/2026:10:20:30 +0000] \"GET /%61/../b?q=1 HTTP/1.1\" 200 12 \"-\" \"curl/8\"";
    assert_eq!(line(NGINX, fields, 200), expected);
}

#[test]
fn every_variable_has_its_value() {
    let cases = [
        ("$time_iso8601|$msec", "2026-11-02T10:20:30.456Z|1793614830.456"),
        ("$request_method $request_uri $uri $args $query_string", "GET /%61/../b?q=1 /b q=1 q=1"),
        ("$server_protocol $scheme $host", "HTTP/1.1 https a.example"),
        ("$request_id", "01a1fe43-c619-777a-8f51-5907d6d9f11d"),
        (
            "$request_time $upstream_addr $pool $route $retries $outcome",
            "1.234 10.0.0.2:80 shop/web - 1 whole",
        ),
        ("$trace_id $span_id $remote_user", "- - -"),
        ("${status}ms $$ costs $$${retries}", "200ms $ costs $1"),
        ("$http_x_two_words $http_none", "here -"),
        ("", ""),
        ("é$status→", "é200→"),
    ];
    for (template, expected) in cases {
        assert_eq!(line(template, "X-Two-Words: here\r\n", 200), expected, "{template}");
    }
    assert_eq!(line("$status", "", 0), "499", "the client gave up");
    for name in variable::names() {
        let all = line(&format!("<${name}>"), "", 200);
        assert!(all.len() > 2 && !all.contains('$'), "{name}: {all}");
    }
}

#[test]
fn no_client_forges_lines_or_ends_quotes() {
    let fields = "user-agent: \" 200 - \\ \u{1b}[2J\u{0} \u{ff}\r\nauthorization: Basic YSIKYjpj\r\n";
    let fields = fields.replace(['\u{1b}', '\u{0}'], "\t");
    let line = line("\"$http_user_agent\" $remote_user $status", &fields, 200);
    assert_eq!(line, "\"\\\" 200 - \\\\ \\x09[2J\\x09 \u{ff}\" a\\\"\\x0ab 200");
}

#[test]
fn mistakes_are_named_with_their_place() {
    let said = |text: &str| Template::parse(text).unwrap_err().to_string();
    assert_eq!(
        said("é $remote_adr"),
        "there is no variable `$remote_adr` (at character 3); did you mean `$remote_addr`?"
    );
    assert_eq!(said("$status $xyzzy"), "there is no variable `$xyzzy` (at character 9)");
    assert_eq!(
        said("${user_agent}"),
        "there is no variable `$user_agent` (at character 1); did you mean `$http_user_agent`?"
    );
    assert_eq!(said("a $ b"), "the `$` at character 3 names no variable; for the sign itself write `$$`");
    assert_eq!(said("$status$"), "the `$` at character 8 names no variable; for the sign itself write `$$`");
    assert_eq!(said("${}"), "the `$` at character 1 names no variable; for the sign itself write `$$`");
    assert_eq!(said("$$ ${status"), "the `${` at character 4 has no `}`");
    assert_eq!(said("a\nb"), "the character 2 is a control character, which would break lines");
    assert_eq!(said(&"a".repeat(LONGEST + 1)), "it is longer than 4096 bytes");
}

#[test]
fn formats_are_named_or_written() {
    use crate::settings::LogFormat;
    let read = |text: &str| text.parse::<LogFormat>().map_err(|error| error.to_string());
    assert_eq!(read("json"), Ok(LogFormat::Json));
    assert_eq!(read("combined"), Ok(LogFormat::Combined));
    assert!(matches!(read("$status"), Ok(LogFormat::Template(_))));
    assert_eq!(
        read("combind").unwrap_err(),
        "there is no format `combind`, did you mean `combined`?; it is `json`, `combined`, or a text with variables such as `$remote_addr $status`"
    );
    assert!(read("xml").unwrap_err().starts_with("there is no format `xml`; it is"));
}
