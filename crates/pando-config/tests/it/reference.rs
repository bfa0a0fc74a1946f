//! The generated documents are those of this program.

use std::path::Path;

fn check(name: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == generated,
        "docs/reference/{name} is out of date; `cargo run -p xtask -- docs` renews it"
    );
}

#[test]
fn the_schema_is_up_to_date() {
    check("pando.schema.json", &pando_config::schema_json());
}

#[test]
fn the_reference_is_up_to_date() {
    check("pando-yaml.md", &pando_config::reference_markdown());
}
