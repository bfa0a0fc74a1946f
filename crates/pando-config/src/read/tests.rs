use super::*;
use crate::tree::{Kind, Value};

fn read(format: Format, text: &str) -> (Option<Node>, Vec<String>) {
    let mut sink = Sink::new(Arc::new(SourceFile::new("f", text)));
    let node = tree(format, &mut sink);
    (node, sink.into_problems().into_iter().map(|problem| problem.message).collect())
}

/// Every scalar's span covers what was typed there.
fn scalars(node: &Node, text: &str, found: &mut Vec<(String, Kind, String)>) {
    match &node.value {
        Value::Scalar(scalar) => {
            let typed = text.get(node.span.start..node.span.end).unwrap().to_owned();
            found.push((scalar.text.clone(), scalar.kind, typed));
        }
        Value::List(items) => items.iter().for_each(|item| scalars(item, text, found)),
        Value::Map(entries) => entries.iter().for_each(|entry| {
            assert!(text.get(entry.key_span.start..entry.key_span.end).unwrap().contains(&entry.key));
            scalars(&entry.value, text, found);
        }),
    }
}

#[test]
fn spans_cover_what_was_typed() {
    for (format, text) in [
        (Format::Yaml, "é: 'ü'\nb: [1, \"x\", 0.5]\nc:\n- true\r\n- 0x1f\n"),
        (Format::Json, "{\"é\": \"ü\", \"b\": [1, \"x\", 0.5], \"c\": [true, 31]}"),
        (Format::Toml, "'é' = 'ü'\nb = [1, \"x\", 0.5]\nc = [true, 0x1f]\n"),
    ] {
        let (node, problems) = read(format, text);
        assert!(problems.is_empty(), "{problems:?}");
        let mut found = Vec::new();
        scalars(&node.unwrap(), text, &mut found);
        let kinds: Vec<Kind> = found.iter().map(|(_, kind, _)| *kind).collect();
        use Kind::{Bool, Float, Integer, Text};
        assert_eq!(kinds, [Text, Integer, Text, Float, Bool, Integer], "{text}");
        for (value, _, typed) in found {
            assert!(typed.contains(&value), "{typed} is not {value}");
        }
    }
}

#[test]
fn yaml_scalars_have_the_kinds_of_the_core_schema() {
    for (typed, kind) in [
        ("~", Kind::Null),
        ("null", Kind::Null),
        ("True", Kind::Bool),
        ("yes", Kind::Text),
        ("0o17", Kind::Integer),
        ("+12", Kind::Integer),
        ("1_000", Kind::Text),
        ("1e3", Kind::Float),
        ("-.5", Kind::Float),
        (".inf", Kind::Float),
        ("1.2.3", Kind::Text),
        ("inf", Kind::Text),
        ("'5'", Kind::Text),
        ("!!str 5", Kind::Text),
        ("! 5", Kind::Text),
    ] {
        let (node, problems) = read(Format::Yaml, &format!("a: {typed}\n"));
        let node = node.unwrap_or_else(|| panic!("{typed}: {problems:?}"));
        let value = &node.entries().unwrap()[0].value;
        assert_eq!(value.scalar().unwrap().kind, kind, "{typed}");
    }
}

#[test]
fn merge_keys_fill_in_what_is_not_given() {
    let text =
        "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  <<: [*a, *b]\n  x: 3\nd:\n  x: 4\n  <<: *b\n'<<': 5\n";
    let (node, problems) = read(Format::Yaml, text);
    assert!(problems.is_empty(), "{problems:?}");
    let node = node.unwrap();
    let of = |key: &str| -> Vec<(String, String)> {
        let entries = node.get(key).unwrap().entries().unwrap().iter();
        let mut pairs: Vec<(String, String)> =
            entries.map(|entry| (entry.key.clone(), entry.value.scalar().unwrap().text.clone())).collect();
        pairs.sort();
        pairs
    };
    let pairs = |list: &[(&str, &str)]| {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(of("c"), pairs(&[("x", "3"), ("y", "1"), ("z", "2")]));
    assert_eq!(of("d"), pairs(&[("x", "4"), ("y", "2"), ("z", "2")]));
    assert_eq!(node.get("<<").unwrap().scalar().unwrap().text, "5", "a quoted `<<` is a key like any");
}

#[test]
fn what_multiplies_itself_or_never_ends_is_refused() {
    for (text, message) in [
        ("a: &a [*a]\n", "this alias lies within what it stands for"),
        ("a: *nobody\n", "this is not valid YAML: while parsing node, found unknown anchor"),
        (&format!("a: {}\n", "[".repeat(100_000)), "this is nested more than 64 levels deep"),
        (&(0..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>(), "this is nested"),
        (&"- ".repeat(3000), "this is nested more than 64 levels deep"),
    ] {
        let (node, problems) = read(Format::Yaml, text);
        assert!(node.is_none());
        assert!(problems[0].starts_with(message), "{problems:?}");
    }
    let (node, problems) = read(Format::Json, &format!("{}{}", "[".repeat(100), "]".repeat(100)));
    assert!(node.is_none() && problems[0].contains("64 levels"), "{problems:?}");
    let (node, problems) = read(Format::Toml, &format!("a = {}{}", "[".repeat(70), "]".repeat(70)));
    assert!(node.is_none() && problems[0].contains("64 levels"), "{problems:?}");
}

#[test]
fn every_syntax_error_of_toml_is_reported() {
    let (node, problems) = read(Format::Toml, "a = \nb = 'x\nc = 1\n");
    assert!(node.is_none());
    assert!(problems.len() >= 2, "{problems:?}");
}
