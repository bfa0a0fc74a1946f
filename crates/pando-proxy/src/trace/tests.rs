use super::*;
use crate::asked::Asked;
use crate::inbox::Inbox;

const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn tracing(ratio: f64) -> Tracing {
    Tracing::new(&Settings { ratio, otlp: None }, "").unwrap().0
}

fn begun(ratio: f64, fields: &str) -> (Box<Trace>, String, Vec<String>) {
    let mut asked = Asked::blank();
    let text = format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    asked.bytes = Inbox::holding(text.as_bytes());
    let paper = &mut *asked;
    paper.head.read(paper.bytes.bytes(), &pando_http::Limits::default()).unwrap();
    let client = Client::new("10.0.0.1:1".parse().unwrap(), false);
    let trace = tracing(ratio).begin(paper, &client);
    let lines = String::from_utf8(paper.trace.all().to_vec()).unwrap();
    let kept = paper.head.fields.iter().filter(|field| !field.dropped);
    let kept = kept.map(|field| field.name.text(paper.bytes.bytes()).to_owned()).collect();
    (trace, lines, kept)
}

#[test]
fn a_trace_goes_on_with_our_span_as_the_parent() {
    let (trace, lines, kept) =
        begun(0.0, &format!("traceparent: {GIVEN}\r\nTraceState: a=1\r\ntracestate: b=2\r\n"));
    assert_eq!(trace.id.hex().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(trace.parent.unwrap().hex().to_string(), "00f067aa0ba902b7");
    let span = trace.span.hex();
    let expected = format!("traceparent: 00-{}-{span}-01\r\ntracestate: a=1,b=2\r\n", trace.id.hex());
    assert_eq!(lines, expected);
    assert_eq!(kept, ["host"]);
    let (trace, lines, _) = begun(1.0, &format!("traceparent: {}0\r\n", GIVEN.strip_suffix('1').unwrap()));
    assert!(lines.ends_with("-00\r\n") && trace.parent.is_some(), "as whoever began it would have it");
}

#[test]
fn a_malformed_parent_is_replaced_and_its_state_goes_too() {
    for fields in [
        "".to_owned(),
        "traceparent: nonsense\r\ntracestate: a=1\r\n".to_owned(),
        "tracestate: a=1\r\n".to_owned(),
        format!("traceparent: {GIVEN}\r\ntraceparent: {GIVEN}\r\ntracestate: a=1\r\n"),
    ] {
        let (trace, lines, kept) = begun(1.0, &fields);
        assert_eq!(trace.parent, None, "{fields}");
        assert_eq!(lines, format!("traceparent: 00-{}-{}-01\r\n", trace.id.hex(), trace.span.hex()));
        assert_eq!(kept, ["host"]);
    }
}

#[test]
fn a_malformed_state_leaves_the_parent_alone() {
    let (trace, lines, _) = begun(1.0, &format!("traceparent: {GIVEN}\r\ntracestate: a=1,B=2\r\n"));
    assert!(trace.parent.is_some() && !lines.contains("tracestate"), "{lines}");
}

#[test]
fn traces_are_drawn_by_the_ratio() {
    for ratio in [0.0, 0.25, 1.0] {
        let tracing = tracing(ratio);
        let drawn = (0..10_000).filter(|_| ids::trace().chance() < tracing.threshold).count();
        let drawn_ratio = f64::from(u32::try_from(drawn).unwrap()) / 10_000.0;
        assert!((drawn_ratio - ratio).abs() < 0.03, "{ratio}: {drawn}");
        if ratio == 0.0 || ratio == 1.0 {
            assert_eq!(drawn, if ratio == 0.0 { 0 } else { 10_000 });
        }
    }
}
