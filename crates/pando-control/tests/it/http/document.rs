//! The OpenAPI document that is checked in is the one that the code makes.

#[test]
fn the_checked_in_document_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");
    let held = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        held == pando_control::http::openapi_json(),
        "docs/reference/openapi.json is old; run `cargo xtask docs`"
    );
}
