//! Free text, commands, and yes or no.

use serde_json::{Value as Json, json};

use crate::decode::{Leaf, Wrong};
use crate::import::shell::command_line;
use crate::tree::{Kind, Node, Scalar};

/// Text of at least one character; a number counts as the text it was typed as (`version: 15`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl Leaf for Text {
    fn expected() -> String {
        "text".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        not_blank(scalar)?;
        Ok(Self(without_nul(scalar)?))
    }

    fn schema() -> Json {
        json!({"type": ["string", "number"], "minLength": 1})
    }
}

/// A shell command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command(pub(crate) String);

impl Leaf for Command {
    fn expected() -> String {
        "a command line".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        if scalar.kind != Kind::Text {
            return Err(Wrong::with_hint(format!(
                "if that is the command, put it in quotes: \"{}\"",
                scalar.text
            )));
        }
        not_blank(scalar)?;
        Ok(Self(without_nul(scalar)?))
    }

    fn instead_of(node: &Node) -> Option<String> {
        let line = command_line(node)?;
        Some(format!("write it as one line, as a shell reads it: `{line}`"))
    }

    fn schema() -> Json {
        json!({"type": "string", "minLength": 1})
    }
}

/// Who runs in a container, as engines take it: a name or number, perhaps with a group behind `:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerUser(pub(crate) String);

impl Leaf for ContainerUser {
    fn expected() -> String {
        "a user such as `app`, `1000` or `1000:1000`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with('-')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
        };
        let (user, group) = scalar.text.split_once(':').map_or((&*scalar.text, None), |(u, g)| (u, Some(g)));
        match is_name(user) && group.is_none_or(is_name) {
            true => Ok(Self(scalar.text.clone())),
            false => Err(Wrong::default()),
        }
    }

    fn schema() -> Json {
        json!({"type": ["string", "number"], "minLength": 1})
    }
}

/// The value of an environment variable: any scalar, as it was typed; may be empty when quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvText(pub(crate) String);

impl Leaf for EnvText {
    fn expected() -> String {
        "a value".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        Ok(Self(without_nul(scalar)?))
    }

    fn schema() -> Json {
        json!({"type": ["string", "number", "boolean"]})
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

impl Leaf for Flag {
    fn expected() -> String {
        "`true` or `false`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let meant = match scalar.text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" | "1" => Some("true"),
            "no" | "off" | "false" | "0" => Some("false"),
            _ => None,
        };
        let wrong = || meant.map_or_else(Wrong::default, |word| Wrong::with_hint(format!("write `{word}`")));
        scalar.as_bool().map(Self).ok_or_else(wrong)
    }

    fn schema() -> Json {
        json!({"type": "boolean"})
    }
}

fn not_blank(scalar: &Scalar) -> Result<(), Wrong> {
    if scalar.text.trim().is_empty() { Err(Wrong::because("this is empty")) } else { Ok(()) }
}

/// The system takes no such text as an argument or a variable.
fn without_nul(scalar: &Scalar) -> Result<String, Wrong> {
    if scalar.text.contains('\0') {
        return Err(Wrong::because("this has a NUL character in it"));
    }
    Ok(scalar.text.clone())
}
