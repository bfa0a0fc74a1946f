//! What Compose refuses is refused, with its place and what to write.

use std::path::{Path, PathBuf};

use pando_config::MemoryFiles;
use pando_config::import::{self, Request};

/// The problems of a file with this service, or what is written of it.
fn imported(keys: &str, others: &[(&str, &str)]) -> Result<String, String> {
    let yaml = format!("services:\n  web:\n    image: a/b\n    {keys}\n");
    let files = MemoryFiles::default().with("compose.yaml", yaml);
    let files = others.iter().fold(files, |files, (name, text)| files.with(*name, *text));
    let paths = [PathBuf::from("compose.yaml")];
    let request = Request { files: &paths, kind: None, app: "shop", service: None, base: Path::new("") };
    import::from_files(&request, &files)
        .map(|imported| imported.yaml)
        .map_err(|problems| problems.to_string())
}

#[test]
fn numbers_and_the_like_are_no_users() {
    for (typed, is, remedy) in [
        ("010", "the number 8", "`user: \"010\"`"),
        ("1000", "the number 1000", "`user: \"1000\"`"),
        ("0x1F", "the number 31", "`user: \"0x1F\"`"),
        ("1_000", "the number 1000", "`user: \"1_000\"`"),
        ("0", "the number 0", "`user: \"0\"`"),
        ("1.5", "a number", "`user: \"1.5\"`"),
        ("true", "the value true", "`user: \"true\"`"),
        ("2026-01-01", "a date", "`user: \"2026-01-01\"`"),
    ] {
        let said = imported(&format!("user: {typed}"), &[]).unwrap_err();
        assert!(said.contains(&format!("`user` is {is} to Compose")), "{said}");
        assert!(said.contains("compose.yaml:4:11") && said.contains(remedy), "{said}");
    }
    let filled = [(".env", "UID=010\n")];
    for (typed, written) in [
        ("\"010\"", "user: 010"),
        ("'1000'", "user: 1000"),
        ("1000:1000", "user: 1000:1000"),
        ("app", "user: app"),
        // What is filled in is a text, whatever it looks like.
        ("${UID}", "user: 010"),
        ("${NONE:-1000}", "user: 1000"),
        ("!!str 010", "user: 010"),
    ] {
        let yaml = imported(&format!("user: {typed}"), &filled).unwrap_or_else(|said| panic!("{said}"));
        assert!(yaml.replace('"', "").contains(written), "{typed}: {yaml}");
    }
}

#[test]
fn a_length_of_time_has_a_unit() {
    let check = |times: &str| format!("healthcheck: {{test: [CMD, ok], {times}}}");
    let filled = [(".env", "EVERY=7\nSOON=1m\n")];
    for (keys, key, remedy) in [
        (check("interval: 5"), "interval", "`interval: 5s`"),
        (check("timeout: '5'"), "timeout", "`timeout: 5s`"),
        (check("start_period: 0"), "start_period", "`start_period: 0s`"),
        (check("interval: 1.5"), "interval", "`interval: 1.5s`"),
        (check("interval: \"${EVERY}\""), "interval", "`interval: 7s`"),
        (check("interval: 010"), "interval", "`interval: 30s`"),
        (
            format!("{}\n    stop_grace_period: 90", check("interval: 5s")),
            "stop_grace_period",
            "`stop_grace_period: 90s`",
        ),
    ] {
        let said = imported(&keys, &filled).unwrap_err();
        assert!(said.contains(&format!("`{key}` has no unit")) && said.contains(remedy), "{said}");
        assert!(said.contains("compose.yaml:"), "{said}");
    }
    for keys in [
        check("interval: 5s, timeout: 1m30s, start_period: '0'"),
        check("interval: \"${SOON}\", retries: 5"),
        check("interval: \"${NOWHERE}\""),
        "stop_grace_period: 1m30s".to_owned(),
    ] {
        imported(&keys, &filled).unwrap_or_else(|said| panic!("{said}"));
    }
}

#[test]
fn all_of_them_are_said_at_once_each_in_its_file() {
    let base = [("base.yaml", "services: {base: {image: a/b, stop_grace_period: 5}}\n")];
    let keys = "user: 010\n    healthcheck: {test: [CMD, ok], interval: 5, timeout: 6}\n    extends: {file: base.yaml, service: base}";
    let said = imported(keys, &base).unwrap_err();
    for part in [
        "`user`",
        "`interval`",
        "`timeout`",
        "compose.yaml:4:11",
        "compose.yaml:5:",
        "`stop_grace_period`",
        "base.yaml:1:",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    // What is set over it counts, as with Compose.
    let over = "stop_grace_period: 5s\n    extends: {file: base.yaml, service: base}";
    assert!(imported(over, &base).is_ok());
}
