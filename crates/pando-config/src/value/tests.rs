use std::fmt::Debug;

use super::*;
use crate::decode::Leaf;
use crate::tree::{Kind, Scalar};

fn plain(text: &str) -> Scalar {
    let number = |c: char| c.is_ascii_digit() || c == '-';
    let kind = match text {
        "true" | "false" => Kind::Bool,
        _ if text.chars().all(number) && !text.is_empty() => Kind::Integer,
        _ if text.parse::<f64>().is_ok() => Kind::Float,
        _ => Kind::Text,
    };
    Scalar { text: text.to_owned(), kind }
}

/// What each text is read as; `None`: an error.
fn check<T: Leaf, V: PartialEq + Debug>(value: fn(T) -> V, cases: &[(&str, Option<V>)]) {
    for (text, expected) in cases {
        let parsed = T::parse(&plain(text));
        match (parsed, expected) {
            (Ok(parsed), Some(expected)) => assert_eq!(&value(parsed), expected, "{text}"),
            (Err(_), None) => {}
            (Ok(_), None) => panic!("`{text}` was taken"),
            (Err(wrong), Some(_)) => panic!("`{text}` was refused: {wrong:?}"),
        }
    }
}

#[test]
fn durations() {
    type Any = Duration<0, 100_000_000>;
    check::<Any, _>(
        |duration| duration.0.0,
        &[
            ("500ms", Some(500)),
            ("2s", Some(2000)),
            ("1.5s", Some(1500)),
            ("10m", Some(600_000)),
            ("1h", Some(3_600_000)),
            ("1h30m", Some(5_400_000)),
            ("1d", Some(86_400_000)),
            ("30", Some(30_000)),
            ("0.25", Some(250)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("2 s", None),
            ("2min", None),
            ("-1s", None),
            ("1.s", None),
            (".5s", None),
            ("1e3", None),
            ("2d", None),
            ("99999999999999999999999s", None),
            ("true", None),
        ],
    );
}

#[test]
fn sizes() {
    check::<Memory, _>(
        |memory| memory.0,
        &[
            ("512MB", Some(512_000_000)),
            ("512M", Some(512_000_000)),
            ("512m", Some(512_000_000)),
            ("512 MB", Some(512_000_000)),
            ("1GiB", Some(1 << 30)),
            ("1Gi", Some(1 << 30)),
            ("1.5g", Some(1_500_000_000)),
            ("4000000", Some(4_000_000)),
            ("4000000B", Some(4_000_000)),
            ("512", None),
            ("512iB", None),
            ("1PB", None),
            ("MB", None),
            ("-1GB", None),
            ("1.2.3GB", None),
            ("9999999TB", None),
        ],
    );
    check::<Cpu, _>(
        |cpu| cpu.0,
        &[
            ("0.5", Some(500)),
            ("500m", Some(500)),
            ("2", Some(2000)),
            ("0.01", Some(10)),
            ("0.001", None),
            ("9m", None),
            ("2000", None),
            ("half", None),
            ("50%", None),
        ],
    );
}

#[test]
fn numbers() {
    check::<Count<1, 10>, _>(
        |count| count.0,
        &[
            ("1", Some(1)),
            ("10", Some(10)),
            ("0", None),
            ("11", None),
            ("-1", None),
            ("1.5", None),
            ("one", None),
        ],
    );
    let quoted = Scalar::text("3");
    assert!(Count::<1, 10>::parse(&quoted).is_err(), "a count in quotes is text");
    assert_eq!(Port::parse(&Scalar::text("8080")).unwrap().0, 8080, "a port in quotes is a port");
    check::<Port, _>(|port| port.0, &[("80", Some(80)), ("0", None), ("65536", None), ("http", None)]);
    check::<Percent, _>(
        |percent| percent.0,
        &[("0%", Some(0)), ("100%", Some(100)), ("101%", None), ("5", None), ("%", None)],
    );
    use pando_model::app::Amount::{Count as Counted, Percent as Share};
    check::<Amount, _>(
        |amount| amount.0,
        &[("3", Some(Counted(3))), ("25%", Some(Share(25))), ("-1", None), ("25.5%", None), ("some", None)],
    );
    check::<Decimal, _>(
        |number| number.0,
        &[("80", Some(80.0)), ("0.5", Some(0.5)), ("0", None), ("x", None)],
    );
}

#[test]
fn addresses() {
    check::<Host, _>(
        |host| host.0,
        &[
            ("Example.com", Some("example.com".to_owned())),
            ("*.example.com", Some("*.example.com".to_owned())),
            ("localhost", Some("localhost".to_owned())),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example".to_owned())),
            ("*", None),
            ("a.*.com", None),
            ("example.com:80", None),
            ("example..com", None),
            ("example.com.", None),
            ("a_b.com", None),
            ("bücher.example", None),
        ],
    );
    check::<ServerAddress, _>(
        |address| address.0,
        &[
            ("prod.example.com", Some("prod.example.com".to_owned())),
            ("prod.example.com:7420", Some("prod.example.com:7420".to_owned())),
            ("203.0.113.7", Some("203.0.113.7".to_owned())),
            ("2001:db8::1", Some("2001:db8::1".to_owned())),
            ("[2001:db8::1]:7420", Some("[2001:db8::1]:7420".to_owned())),
            ("prod.example.com:0", None),
            ("https://prod.example.com", None),
            ("a b", None),
        ],
    );
}

#[test]
fn paths_and_volumes() {
    check::<UrlPath, _>(
        |path| path.0,
        &[
            ("/", Some("/".to_owned())),
            ("/health?full=1", Some("/health?full=1".to_owned())),
            ("health", None),
            ("/a b", None),
            ("/a#b", None),
            ("/é", None),
            ("https://a.example/health", None),
        ],
    );
    check::<Assets, _>(
        |assets| assets.0.as_str().to_owned(),
        &[
            ("/app/public/assets/", Some("/app/public/assets".to_owned())),
            ("public/assets", Some("public/assets".to_owned())),
            ("/", None),
            ("../assets", None),
        ],
    );
    check::<Volume, _>(
        |volume| (volume.0.source, volume.0.target, volume.0.read_only),
        &[
            ("uploads:/app/uploads", Some(("uploads".to_owned(), "/app/uploads".to_owned(), false))),
            ("/srv/data:/data:ro", Some(("/srv/data".to_owned(), "/data".to_owned(), true))),
            ("uploads", None),
            ("./data:/data", None),
            ("a:b", None),
            ("a:/b:c:d", None),
        ],
    );
}

#[test]
fn images() {
    let fits = |text: &str| ImageReference::parse(&Scalar::text(text)).is_ok();
    let digest = format!("org/app@sha256:{}", "0a".repeat(32));
    for good in
        ["nginx", "org/app:1.2.0", "ghcr.io/org/app", "localhost:5000/app:v1", "REG.example/app", &digest]
    {
        assert!(fits(good), "{good}");
    }
    for bad in ["", "org/App", "org//app", "/app", "app:", "app:1:2", "app@sha256:12", "my app", "app:a b"] {
        assert!(!fits(bad), "{bad}");
    }
}

#[test]
fn schedules() {
    let fits = |text: &str| Cron::parse(&Scalar::text(text)).is_ok();
    for good in
        ["0 3 * * *", "*/5 * * * *", "0 0 1,15 jan-mar MON", "0-30/10 8-18 * * 1-5", "@daily", " 0 3 * * 7 "]
    {
        assert!(fits(good), "{good}");
    }
    for bad in [
        "",
        "0 3 * *",
        "60 3 * * *",
        "0 24 * * *",
        "0 0 0 * *",
        "0 0 * 13 *",
        "5-1 * * * *",
        "*/0 * * * *",
        "@never",
        "a b c d e",
    ] {
        assert!(!fits(bad), "{bad}");
    }
    let zone = |text: &str| TimeZone::parse(&Scalar::text(text)).is_ok();
    assert!(
        zone("UTC") && zone("Europe/Paris") && zone("America/Argentina/Buenos_Aires") && zone("Etc/GMT+5")
    );
    assert!(!zone("") && !zone("Paris Time") && !zone("/Paris") && !zone("+01:00"));
}

#[test]
fn names() {
    let hint = |text: &str| Label::parse(&Scalar::text(text)).unwrap_err().hint;
    assert!(Label::parse(&Scalar::text("my-app-2")).is_ok());
    assert_eq!(hint("My App!").as_deref(), Some("`my-app` would do"));
    assert_eq!(hint(&"a".repeat(64)), Some(format!("`{}` would do", "a".repeat(63))));
    assert_eq!(hint("!!"), None);
    let env = |text: &str| EnvName::parse(&Scalar::text(text)).is_ok();
    assert!(
        env("RAILS_ENV") && env("_x1") && !env("1X") && !env("A-B") && !env("") && !env("A=B") && !env("É")
    );
}

#[test]
fn text_and_flags() {
    assert_eq!(EnvText::parse(&plain("true")).unwrap().0, "true", "as it was typed");
    assert_eq!(EnvText::parse(&Scalar::text("")).unwrap().0, "", "an empty value is one");
    assert!(EnvText::parse(&Scalar::text("a\0b")).is_err());
    assert!(Command::parse(&plain("5")).is_err(), "a number is no command");
    assert!(Command::parse(&Scalar::text(" ")).is_err());
    let flag = |text: &str| Flag::parse(&plain(text));
    assert!(flag("true").unwrap().0 && !flag("false").unwrap().0);
    assert_eq!(flag("yes").unwrap_err().hint.as_deref(), Some("write `true`"));
}

#[test]
fn urls_have_places_for_host_and_port_only() {
    let long = format!("{}{{host}}", "x".repeat(1000));
    check::<UrlTemplate, _>(
        |url| url.0.len() > 5,
        &[
            ("postgres://app@{host}:{port}/app", Some(true)),
            ("app@tcp({host}:{port})/app", Some(true)),
            ("redis://cache.example.com", Some(true)),
            (&long, Some(true)),
            ("{host}", Some(true)),
            ("", None),
            (" ", None),
            ("postgres://{hots}/app", None),
            ("postgres://{}/app", None),
            ("postgres://{host/app", None),
            ("postgres://host}/app", None),
            ("postgres://{{host}}/app", None),
            ("postgres://{HOST}/app", None),
            ("a\0b", None),
            ("5432", None),
        ],
    );
}

#[test]
fn labels() {
    let long = "a".repeat(63);
    let longer = "a".repeat(64);
    let cases = [
        ("ssd", Some(true)),
        ("eu-west.1_a", Some(true)),
        (&long, Some(true)),
        ("15", Some(true)),
        ("true", Some(true)),
        ("", None),
        ("-a", None),
        ("a-", None),
        ("a b", None),
        ("é", None),
        ("a/b", None),
        (&longer, None),
    ];
    check::<LabelValue, _>(|value| !value.0.is_empty(), &cases);
    check::<LabelKey, _>(|key| !key.0.is_empty(), &cases);
}
