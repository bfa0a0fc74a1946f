//! Paths with places in them: `/users/{id}/posts`, `/files/{name}.json`, `/static/{rest...}`.
//!
//! A place stands for one segment or a part of it, and never for nothing; the last may stand for all that follows. Matching
//! goes through a path once: nothing is tried twice, so that no path is expensive.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::template::is_builtin;

/// Segments at most; no router has that many.
const MOST_SEGMENTS: usize = 64;

/// A pattern that was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    segments: Box<[Segment]>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(Box<str>),
    /// Something between two fixed parts, which may be empty.
    Place {
        before: Box<str>,
        name: Arc<str>,
        after: Box<str>,
    },
    /// Whatever follows; the last.
    Rest(Arc<str>),
}

impl Pattern {
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a path, in its normal spelling and without its query, fits. A slash at its end counts, but for what `{rest...}` stands
    /// for.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        self.walk(path, |_, _| {})
    }

    /// What stands in the place of that name, in a path that matches.
    #[must_use]
    pub fn capture<'p>(&self, path: &'p [u8], name: &str) -> Option<&'p [u8]> {
        let mut found = None;
        let fits = self.walk(path, |place, text| {
            if place == name {
                found = Some(text);
            }
        });
        found.filter(|_| fits)
    }

    /// The names of its places, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Place { name, .. } | Segment::Rest(name) => Some(&**name),
        })
    }

    /// The less, the more exact: the first segment in which two patterns differ decides.
    pub(crate) fn vagueness(&self) -> impl Iterator<Item = u8> {
        self.segments.iter().map(|segment| match segment {
            Segment::Literal(_) => 0,
            Segment::Place { before, after, .. } if !before.is_empty() || !after.is_empty() => 1,
            Segment::Place { .. } => 2,
            Segment::Rest(_) => 3,
        })
    }

    fn walk<'p>(&self, path: &'p [u8], mut found: impl FnMut(&str, &'p [u8])) -> bool {
        let mut left = path.strip_prefix(b"/");
        for segment in &self.segments {
            if let Segment::Rest(name) = segment {
                found(name, left.unwrap_or_default());
                return true;
            }
            let Some(rest) = left else { return false };
            let slash = rest.iter().position(|byte| *byte == b'/');
            let part = &rest[..slash.unwrap_or(rest.len())];
            left = slash.map(|slash| &rest[slash + 1..]);
            match segment {
                Segment::Literal(text) if part == text.as_bytes() => {}
                Segment::Place { before, name, after } => match between(part, before, after) {
                    Some(text) => found(name, text),
                    None => return false,
                },
                _ => return false,
            }
        }
        left.is_none()
    }
}

fn between<'p>(part: &'p [u8], before: &str, after: &str) -> Option<&'p [u8]> {
    let rest = part.strip_prefix(before.as_bytes())?;
    rest.strip_suffix(after.as_bytes()).filter(|text| !text.is_empty())
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = |why: String| format!("`{text}` is not a pattern for paths: {why}");
        let segments = read(&text).map_err(wrong)?;
        Ok(Self { segments: segments.into(), text })
    }
}

impl std::str::FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.to_owned().try_into()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

fn read(text: &str) -> Result<Vec<Segment>, String> {
    let rest = text.strip_prefix('/').ok_or("it must begin with `/`")?;
    if text.contains(|c: char| matches!(c, '?' | '#') || c.is_whitespace() || c.is_control()) {
        return Err("a path has no `?`, `#` or white space".to_owned());
    }
    let segments: Vec<Segment> = rest.split('/').map(segment).collect::<Result<_, _>>()?;
    if segments.len() > MOST_SEGMENTS {
        return Err(format!("it has more than {MOST_SEGMENTS} segments"));
    }
    let is_rest = |segment: &Segment| matches!(segment, Segment::Rest(_));
    if segments.iter().rev().skip(1).any(is_rest) {
        return Err("nothing can follow a place that stands for all that follows".to_owned());
    }
    check_names(&segments)?;
    Ok(segments)
}

fn check_names(segments: &[Segment]) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for segment in segments {
        let (Segment::Place { name, .. } | Segment::Rest(name)) = segment else { continue };
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(fits) {
            return Err(format!("a place is named by small letters, digits and `_`, not `{name}`"));
        }
        if is_builtin(name) {
            return Err(format!("`{name}` means something already; name the place otherwise"));
        }
        if !seen.insert(name) {
            return Err(format!("there are two places named `{name}`"));
        }
    }
    Ok(())
}

fn segment(text: &str) -> Result<Segment, String> {
    let Some((before, rest)) = text.split_once('{') else {
        return match text.contains('}') {
            true => Err("there is a `}` without a `{`".to_owned()),
            false => Ok(Segment::Literal(text.into())),
        };
    };
    let (name, after) = rest.split_once('}').ok_or("there is a `{` without a `}`")?;
    if before.contains('}') || after.contains(['{', '}']) {
        return Err(format!("one place a segment, not as in `{text}`"));
    }
    match name.strip_suffix("...") {
        Some(name) if before.is_empty() && after.is_empty() => Ok(Segment::Rest(name.into())),
        Some(_) => Err("what stands for all that follows stands alone between slashes".to_owned()),
        None => Ok(Segment::Place { before: before.into(), name: name.into(), after: after.into() }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn places_stand_for_one_segment_or_the_rest() {
        for (text, fits, not) in [
            (
                "/users/{id}/posts",
                vec!["/users/7/posts"],
                vec!["/users//posts", "/users/7/posts/", "/users/7/8/posts", "/users/7"],
            ),
            (
                "/files/{name}.json",
                vec!["/files/a.json", "/files/a.b.json"],
                vec!["/files/.json", "/files/a.xml"],
            ),
            ("/v{major}/x", vec!["/v1/x"], vec!["/v/x", "/x/x"]),
            (
                "/static/{rest...}",
                vec!["/static", "/static/", "/static/a/b", "/static/a/"],
                vec!["/statics", "/"],
            ),
            ("/{all...}", vec!["/", "/a", "/a/b"], vec![]),
            ("/", vec!["/"], vec!["/a", "", "*"]),
            ("/a/", vec!["/a/"], vec!["/a", "/a/b"]),
        ] {
            let pattern = pattern(text);
            fits.iter().for_each(|path| assert!(pattern.matches(path.as_bytes()), "{text} {path}"));
            not.iter().for_each(|path| assert!(!pattern.matches(path.as_bytes()), "{text} {path}"));
        }
    }

    #[test]
    fn what_stands_in_a_place_is_known_by_name() {
        let found = pattern("/{user}/f-{name}.txt/{rest...}");
        let path = b"/ann/f-x.y.txt/1/2";
        assert_eq!(found.names().collect::<Vec<_>>(), ["user", "name", "rest"]);
        assert_eq!(found.capture(path, "user").unwrap(), b"ann");
        assert_eq!(found.capture(path, "name").unwrap(), b"x.y");
        assert_eq!(found.capture(path, "rest").unwrap(), b"1/2");
        assert_eq!(found.capture(path, "other"), None);
        assert_eq!(found.capture(b"/ann/x", "user"), None);
    }

    #[test]
    fn what_is_no_pattern_is_explained() {
        for (text, why) in [
            ("users", "begin"),
            ("/a?b", "`?`"),
            ("/{a", "without a `}`"),
            ("/a}", "without a `{`"),
            ("/{a}{b}", "one place"),
            ("/{a...}/b", "follow"),
            ("/x{a...}", "alone"),
            ("/{A}", "small letters"),
            ("/{}", "small letters"),
            ("/{a}/{a}", "two places"),
            ("/{host}", "otherwise"),
        ] {
            let error = text.parse::<Pattern>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    proptest! {
        /// Filling a pattern's places gives a path that matches, and the places back.
        #[test]
        fn filled_places_come_back(parts in proptest::collection::vec(("[a-z.]{0,3}", proptest::option::of("[a-z./]{1,4}")), 1..6)) {
            let (mut text, mut path, mut values) = (String::new(), String::new(), Vec::new());
            for (n, (literal, value)) in parts.iter().enumerate() {
                let value = value.as_ref().map(|value| value.replace('/', "_"));
                match value {
                    Some(value) => {
                        text += &format!("/{literal}{{p{n}}}");
                        path += &format!("/{literal}{value}");
                        values.push((format!("p{n}"), value));
                    }
                    None => {
                        text += &format!("/{literal}");
                        path += &format!("/{literal}");
                    }
                }
            }
            let pattern = pattern(&text);
            prop_assert!(pattern.matches(path.as_bytes()));
            for (name, value) in values {
                prop_assert_eq!(pattern.capture(path.as_bytes(), &name), Some(value.as_bytes()));
            }
        }

        /// Whatever the path: an answer, and no panic.
        #[test]
        fn any_path_can_be_asked(path in proptest::collection::vec(any::<u8>(), 0..40)) {
            for text in ["/{a}/{b}", "/x{a}y/{rest...}", "/"] {
                let pattern = pattern(text);
                prop_assert_eq!(pattern.capture(&path, "a").is_some(), pattern.matches(&path) && text != "/");
            }
        }
    }
}
