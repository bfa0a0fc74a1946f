//! URLs with places to fill in: `postgres://app@{host}:{port}/hits`.

use serde_json::{Value as Json, json};

use crate::decode::{Leaf, Wrong, nearest};
use crate::diagnostic::quoted;
use crate::tree::{Kind, Scalar};

/// A URL in which `{host}` and `{port}` stand for where a service is. No other braces are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UrlTemplate(pub(crate) String);

const PLACEHOLDERS: [&str; 2] = ["host", "port"];
const BRACE: &str =
    "only `{host}` and `{port}` are filled in; a brace that is meant as such is `%7B` or `%7D` in a URL";

impl Leaf for UrlTemplate {
    fn expected() -> String {
        "a URL".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        if scalar.kind != Kind::Text {
            return Err(Wrong::default());
        }
        if scalar.text.trim().is_empty() {
            return Err(Wrong::because("this is empty"));
        }
        if scalar.text.contains('\0') {
            return Err(Wrong::because("this has a NUL character in it"));
        }
        check_braces(&scalar.text)?;
        Ok(Self(scalar.text.clone()))
    }

    fn schema() -> Json {
        json!({"type": "string", "minLength": 1, "pattern": "^([^{}]|\\{host\\}|\\{port\\})+$"})
    }
}

/// The text itself is not repeated in messages: it may hold a password.
fn check_braces(text: &str) -> Result<(), Wrong> {
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let Some(inner) = rest[at..].strip_prefix('{') else {
            return Err(Wrong::because("the URL has a `}` without a `{` before it").hint(BRACE));
        };
        let Some((name, after)) = inner.split_once('}') else {
            return Err(Wrong::because("the URL has a `{` without a `}` after it").hint(BRACE));
        };
        if !PLACEHOLDERS.contains(&name) {
            let hint = nearest(name.trim(), PLACEHOLDERS)
                .map_or_else(|| BRACE.to_owned(), |name| format!("did you mean `{{{name}}}`?"));
            return Err(Wrong::because(format!(
                "nothing is filled in for {}",
                quoted(&format!("{{{name}}}"))
            ))
            .hint(hint));
        }
        rest = after;
    }
    Ok(())
}
