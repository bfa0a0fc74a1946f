//! Names: DNS labels, and names of environment variables.

use pando_model::name::{NameError, check_label};
use pando_model::{AppName, ProcessName, RoleName, ServerName, ServiceName};
use serde_json::{Value as Json, json};

use crate::decode::{Leaf, Wrong};
use crate::diagnostic::quoted;
use crate::tree::Scalar;

/// A DNS label that the model has no type for: of a target, a cluster, a schedule, a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label(pub(crate) String);

impl TryFrom<String> for Label {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        check_label(&text)?;
        Ok(Self(text))
    }
}

macro_rules! label {
    ($($type:ty = $expected:literal),* $(,)?) => {$(
        impl Leaf for $type {
            fn expected() -> String {
                $expected.to_owned()
            }

            fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
                Self::try_from(scalar.text.clone()).map_err(|error| not_a_label(&error, &scalar.text))
            }

            fn schema() -> Json {
                json!({"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"})
            }
        }
    )*};
}

label! {
    AppName = "a name",
    ProcessName = "the name of a process",
    RoleName = "a role",
    ServerName = "the name of a server",
    ServiceName = "the name of a service",
    Label = "a name",
}

fn not_a_label(error: &NameError, typed: &str) -> Wrong {
    let message = match error {
        NameError::Character { name, found } => {
            format!(
                "{} has {} in it; a name has only a-z, 0-9 and `-`",
                quoted(name),
                quoted(&found.to_string())
            )
        }
        NameError::TooLong(name) => format!("{} is longer than 63 characters", quoted(name)),
        other => other.to_string(),
    };
    let fixed = to_label(typed);
    let wrong = Wrong::because(message);
    if fixed.is_empty() { wrong } else { wrong.hint(format!("`{fixed}` would do")) }
}

/// The nearest DNS label to `text`; empty when nothing of it can be kept.
pub(crate) fn to_label(text: &str) -> String {
    let lower = text.to_lowercase();
    let kept = lower.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' });
    let kept: String = kept.collect();
    let words: Vec<&str> = kept.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-").chars().take(63).collect::<String>().trim_end_matches('-').to_owned()
}

/// The name of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EnvName(pub(crate) String);

impl Leaf for EnvName {
    fn expected() -> String {
        "the name of a variable".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let name = &scalar.text;
        let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Ok(Self(name.clone()));
        }
        let reason = format!("{} is not the name of a variable", quoted(name));
        Err(Wrong::because(reason)
            .hint("it has only letters, digits and `_`, and does not start with a digit"))
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"})
    }
}
