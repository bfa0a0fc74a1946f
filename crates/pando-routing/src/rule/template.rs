//! Texts with variables in them: `https://{host}/users/{id}`, for header values, paths and redirects.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Bytes of a template at most.
const LONGEST: usize = 4096;

/// A template that was read. `{{` and `}}` stand for braces. Its own text has no control characters.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: Arc<str>,
    parts: Box<[Part]>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Text(Box<str>),
    Variable(Variable),
}

/// What a proxy puts in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// `{client_address}`, without the port.
    ClientAddress,
    /// `{request_id}`
    RequestId,
    /// `{host}`: as the client named it, with a port if there was one.
    Host,
    /// `{path}`: as the client wrote it.
    Path,
    /// `{query}`: without the `?`; may be empty.
    Query,
    /// `{method}`
    Method,
    /// `{scheme}`: `http` or `https`, as the client came.
    Scheme,
    /// `{route}`: the rule's label.
    Route,
    /// `{header.NAME}`: of the request; the first of that name, empty without one.
    Header(Arc<str>),
    /// What stands in that place of the rule's pattern.
    Place(Arc<str>),
}

const BUILTIN: [(&str, Variable); 8] = [
    ("client_address", Variable::ClientAddress),
    ("request_id", Variable::RequestId),
    ("host", Variable::Host),
    ("path", Variable::Path),
    ("query", Variable::Query),
    ("method", Variable::Method),
    ("scheme", Variable::Scheme),
    ("route", Variable::Route),
];

/// Whether a variable of every request has that name.
pub(super) fn is_builtin(name: &str) -> bool {
    BUILTIN.iter().any(|(known, _)| *known == name)
}

impl Template {
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of places in a pattern that it needs.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(Variable::Place(name)) => Some(&**name),
            _ => None,
        })
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("a text with variables has at most {LONGEST} bytes, not {}", text.len()));
        }
        if text.contains(|c: char| c.is_control()) {
            return Err(format!("`{}` has control characters in it", text.escape_debug()));
        }
        let parts = read(&text).map_err(|why| format!("`{text}`: {why}"))?;
        Ok(Self { text: text.into(), parts: parts.into() })
    }
}

impl std::str::FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.to_owned().try_into()
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text.to_string()
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

fn read(text: &str) -> Result<Vec<Part>, String> {
    let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
            continue;
        }
        if brace == "}" {
            return Err("there is a `}` without a `{`; write `}}` for a brace".to_owned());
        }
        let (name, after) =
            after.split_once('}').ok_or("there is a `{` without a `}`; write `{{` for a brace")?;
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain).into()));
        }
        parts.push(Part::Variable(variable(name)?));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain.into()));
    }
    Ok(parts)
}

fn variable(name: &str) -> Result<Variable, String> {
    if let Some((_, known)) = BUILTIN.iter().find(|(known, _)| *known == name) {
        return Ok(known.clone());
    }
    if let Some(header) = name.strip_prefix("header.") {
        return match crate::validate::is_token(header) {
            true => Ok(Variable::Header(header.into())),
            false => Err(format!("`{header}` is not a name that a header can have")),
        };
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match !name.is_empty() && name.chars().all(fits) {
        true => Ok(Variable::Place(name.into())),
        false => Err(format!("there is no variable `{{{name}}}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_told_from_text() {
        let template: Template = "a{{b}}{client_address}-{id}{header.X-A}".parse().unwrap();
        let text = |text: &str| Part::Text(text.into());
        let expected = [
            text("a{b}"),
            Part::Variable(Variable::ClientAddress),
            text("-"),
            Part::Variable(Variable::Place("id".into())),
            Part::Variable(Variable::Header("X-A".into())),
        ];
        assert_eq!(template.parts(), expected);
        assert_eq!(template.places().collect::<Vec<_>>(), ["id"]);
        assert!("".parse::<Template>().unwrap().parts().is_empty());
    }

    #[test]
    fn what_is_no_template_is_explained() {
        for wrong in
            ["{a", "a}", "{}", "{Host}", "{header.a b}", "{header.}", "a\r\nb", "a\0", &"a".repeat(4097)]
        {
            assert!(wrong.parse::<Template>().is_err(), "{wrong}");
        }
    }
}
