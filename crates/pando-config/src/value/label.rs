//! Labels of servers: a word for what is asked, and a word for the answer (`disk: ssd`).

use serde_json::{Value as Json, json};

use crate::decode::{Leaf, Wrong};
use crate::diagnostic::quoted;
use crate::tree::Scalar;

/// What a label is about, such as `disk`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelKey(pub(crate) String);

/// What a label says, such as `ssd`; a number or a `true` counts as the text it was typed as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelValue(pub(crate) String);

macro_rules! word {
    ($($type:ident = $expected:literal, $kinds:tt);* $(;)?) => {$(
        impl Leaf for $type {
            fn expected() -> String {
                $expected.to_owned()
            }

            fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
                check(&scalar.text)?;
                Ok(Self(scalar.text.clone()))
            }

            fn schema() -> Json {
                json!({"type": $kinds, "pattern": "^[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$"})
            }
        }
    )*};
}

word! {
    LabelKey = "the name of a label", "string";
    LabelValue = "the value of a label", ["string", "number", "boolean"];
}

fn check(word: &str) -> Result<(), Wrong> {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if word.len() <= 63 && word.chars().all(inner) && ends(word.chars().next()) && ends(word.chars().last()) {
        return Ok(());
    }
    let reason = format!("{} can't be a part of a label", quoted(word));
    Err(Wrong::because(reason).hint(
        "it has up to 63 letters, digits, `-`, `_` and `.`, and starts and ends with a letter or a digit",
    ))
}
