use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::schema;
use crate::decode::{Definitions, Key, Note};
use crate::diagnostic::Sink;
use crate::files::MemoryFiles;
use crate::raw::Root;
use crate::read::{self, Format};
use crate::source::SourceFile;
use crate::tree::{Kind, Node, Value};
use pando_model::HealthKind;

/// The part of JSON Schema that says which keys there are and what kind of value they have.
fn accepts(schema: &Json, value: &Json, root: &Json) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        return accepts(root.pointer(name.trim_start_matches('#')).expect(name), value, root);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let answers: Vec<_> = choices.iter().map(|choice| accepts(choice, value, root)).collect();
        return if answers.iter().any(Result::is_ok) { Ok(()) } else { Err(format!("{value}: {answers:?}")) };
    }
    if let Some(words) = schema["enum"].as_array() {
        return if words.contains(value) { Ok(()) } else { Err(format!("{value} is none of {words:?}")) };
    }
    let kinds = match &schema["type"] {
        Json::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    let fits = |kind: &Json| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("{other}"),
    };
    if !kinds.iter().any(fits) {
        return Err(format!("{value} is no {kinds:?}"));
    }
    if let Some(number) = value.as_f64() {
        let least = schema["minimum"].as_f64().unwrap_or(f64::MIN);
        let most = schema["maximum"].as_f64().unwrap_or(f64::MAX);
        if !(least..=most).contains(&number) {
            return Err(format!("{number} is not from {least} to {most}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        accepts(&schema["items"], item, root)?;
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        value.get(required.as_str().unwrap()).ok_or_else(|| format!("{required} is missing"))?;
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        match (schema["properties"].get(key), &schema["additionalProperties"]) {
            (Some(property), _) => accepts(property, value, root)?,
            (None, Json::Bool(false)) => return Err(format!("{key} is not known")),
            (None, below) => accepts(below, value, root)?,
        }
    }
    Ok(())
}

fn to_json(node: &Node) -> Json {
    match &node.value {
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), to_json(&entry.value))).collect()
        }
        Value::Scalar(scalar) => match scalar.kind {
            Kind::Null => Json::Null,
            Kind::Text => scalar.text.clone().into(),
            _ => serde_json::from_str(&scalar.text.to_lowercase()).unwrap(),
        },
    }
}

fn as_json(text: &str) -> Json {
    let mut sink = Sink::new(Arc::new(SourceFile::new("f.yaml", text)));
    to_json(&read::tree(Format::Yaml, &mut sink).expect("a well-formed file"))
}

fn judge(text: &str) -> Result<(), String> {
    let schema = schema();
    accepts(&schema, &as_json(text), &schema)
}

fn fixture(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read_to_string(root.join(path)).unwrap()
}

#[test]
fn the_schema_accepts_right_files() {
    judge(&fixture("every-key.yaml")).unwrap();
    judge(&fixture("traffic.yaml")).unwrap();
    for name in ["basic", "environments", "high-availability", "readiness", "regions", "replace", "stateless"]
    {
        judge(&fixture(&format!("haloy/{name}.yaml"))).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn the_schema_rejects_what_the_parser_rejects() {
    for name in [
        "unknown-keys",
        "wrong-types",
        "bad-choices",
        "out-of-range",
        "missing-keys",
        "targets",
        "services",
        "singleton",
        "traffic",
    ] {
        assert!(judge(&fixture(&format!("problems/{name}.yaml"))).is_err(), "{name}");
    }
}

/// Every key there is, each in its smallest surroundings, spelled right and spelled wrong.
#[test]
fn every_key_of_the_schema_is_known_to_the_parser_and_no_other() {
    let schema = schema();
    let mut checked = 0;
    let mut records: Vec<(String, &Json)> =
        schema["$defs"].as_object().unwrap().iter().map(|(name, record)| (name.clone(), record)).collect();
    records.push(("the file".to_owned(), &schema));
    let mut known: Vec<String> = Vec::new();
    collect("", &Root::keys(), &mut known);
    for (name, record) in records {
        for key in record["properties"].as_object().unwrap().keys() {
            assert!(known.iter().any(|known| known.rsplit('.').next() == Some(key)), "{name}: {key}");
            checked += 1;
        }
        assert_eq!(record["additionalProperties"], json!(false), "{name}");
    }
    assert!(checked > 190, "{checked}");
}

/// What the specification of routes and balancing comes to is reviewed there.
#[test]
fn every_key_of_traffic_is_in_its_example() {
    let example = fixture("traffic.yaml");
    for root in ["routes", "load_balancing"] {
        let mut keys = Vec::new();
        flatten(&below(root), &mut keys);
        for key in keys {
            assert!(example.contains(&format!("{}:", key.name)), "{root}: {}", key.name);
        }
    }
}

fn below(name: &str) -> Vec<Key> {
    let key = Root::keys().into_iter().find(|key| key.name == name).unwrap();
    (key.nested)().unwrap().1
}

fn collect(prefix: &str, keys: &[Key], known: &mut Vec<String>) {
    for key in keys {
        let name = format!("{prefix}{}", key.name);
        if let Some((joint, below)) = (key.nested)() {
            collect(&format!("{name}{joint}"), &below, known);
        }
        known.push(name);
    }
}

#[test]
fn descriptions_are_whole_sentences_and_defaults_fit() {
    let mut definitions = Definitions::default();
    let root = Root::schema(&mut definitions);
    let mut all: Vec<Key> = Vec::new();
    flatten(&Root::keys(), &mut all);
    let schema = json!({"$defs": definitions.0, "root": root});
    for key in all {
        assert!(key.about.ends_with(['.', ';', ':']), "{}: {}", key.name, key.about);
        if let Some(default) = key.note.default_json() {
            let own = (key.schema)(&mut Definitions::default());
            accepts(&own, &default, &schema).unwrap_or_else(|error| panic!("{}: {error}", key.name));
        }
    }
}

fn flatten(keys: &[Key], all: &mut Vec<Key>) {
    for key in keys {
        if let Some((_, below)) = (key.nested)() {
            flatten(&below, all);
        }
        all.push(key.clone());
    }
}

/// A file that spells out every default comes to the same as one that says nothing.
#[test]
fn documented_defaults_are_the_defaults() {
    let typed = |keys: Vec<Key>, skip: &[&str]| -> String {
        let defaults = keys.iter().filter(|key| !skip.contains(&key.name));
        let pairs: Vec<String> = defaults
            .filter_map(|key| match key.note {
                Note::Default(typed) => Some(format!("{}: {typed}", key.name)),
                _ => None,
            })
            .collect();
        assert!(!pairs.is_empty());
        pairs.join(", ")
    };
    let root = typed(Root::keys(), &[]);
    let health = typed(below("health"), &[]);
    let process = typed(below("processes"), &["per_server"]);
    let nested = |keys: Vec<Key>, name: &str| {
        let key = keys.into_iter().find(|key| key.name == name).unwrap();
        typed((key.nested)().unwrap().1, &[])
    };
    let mut balancing = typed(below("load_balancing"), &[]);
    for name in ["ejection", "retries", "timeouts", "probe"] {
        balancing += &format!(", {name}: {{{}}}", nested(below("load_balancing"), name));
    }
    let route = "path: /x, process: web";
    let routes = typed(below("routes"), &["path"]);
    let spelled = format!(
        "{{name: a, image: {{repository: org/a, {}}}, {root}, health: {{{health}}}, routes: [{{{route}, {routes}}}], \
         load_balancing: {{{balancing}}}, processes: {{web: {{{process}}}}}}}",
        typed(below("image"), &[]),
    );
    let silent = format!("{{name: a, image: org/a, routes: [{{{route}}}], processes: {{web: {{}}}}}}");
    let mut silent = spec(&silent);
    // But for the one that an image may have of its own.
    for process in silent.processes.values_mut() {
        assert_eq!(process.health.kind, HealthKind::Image { path: Some("/".to_owned()) });
        process.health.kind = HealthKind::Http { path: "/".to_owned() };
    }
    assert_eq!(silent, spec(&spelled), "{spelled}");
    // What is off unless it is there, with its defaults and without.
    for (parent, name, given) in [
        ("load_balancing", "sticky", ""),
        ("load_balancing", "queue", ""),
        ("load_balancing", "adaptive_limit", ""),
        ("routes", "stick", ""),
        ("routes", "redirect", "to: /x"),
        ("routes", "respond", "body: x"),
        ("routes", "basic_auth", "users: {}"),
        ("routes", "forward_auth", "process: web, path: /x"),
        ("routes", "rate_limit", "rate: 5/m"),
        ("routes", "cors", "origins: '*'"),
        ("routes", "compression", ""),
        ("routes", "mirror", "process: web"),
    ] {
        let defaults = nested(below(parent), name);
        let defaults = format!("{given}{}{defaults}", if given.is_empty() { "" } else { ", " });
        let of = |keys: &str| match (parent, name) {
            ("routes", "stick") => {
                format!("routes: [{{path: /x, split: {{web: 1, api: 1}}, stick: {{{keys}}}}}]")
            }
            ("routes", _) => format!("routes: [{{path: /x, {name}: {{{keys}}}}}]"),
            _ => format!("{parent}: {{{name}: {{{keys}}}}}"),
        };
        let file = |keys: &str| {
            spec(&format!("{{name: a, image: org/a, processes: {{web: {{}}, api: {{}}}}, {}}}", of(keys)))
        };
        assert_eq!(file(given), file(&defaults), "{parent}.{name}: {defaults}");
    }
}

fn spec(text: &str) -> pando_model::AppSpec {
    let files = MemoryFiles::default().with("pando.yaml", text);
    let loaded = crate::load(Path::new("pando.yaml"), None, &files);
    loaded.unwrap_or_else(|problems| panic!("{problems}")).targets.remove(0).spec
}
