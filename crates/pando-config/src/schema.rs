//! The JSON Schema of the file, from the same declarations that read it.

use serde_json::{Value as Json, json};

use crate::decode::Definitions;
use crate::raw::Root;

/// The schema (draft 2020-12), as editors and `pando schema` use it.
#[must_use]
pub fn schema() -> Json {
    let mut definitions = Definitions::default();
    let root = Root::schema(&mut definitions);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pando.yaml",
    });
    if let (Some(schema), Json::Object(root)) = (schema.as_object_mut(), root) {
        schema.extend(root);
    }
    schema["$defs"] = json!(definitions.0);
    schema
}

/// [`schema`], as the text of a file.
#[must_use]
pub fn schema_json() -> String {
    format!("{:#}\n", schema())
}

#[cfg(test)]
mod tests;
