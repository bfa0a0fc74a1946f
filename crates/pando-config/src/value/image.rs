//! References to container images.

use serde_json::{Value as Json, json};

use crate::decode::{Leaf, Wrong};
use crate::diagnostic::quoted;
use crate::tree::Scalar;

/// `REGISTRY/REPOSITORY:TAG@DIGEST`, of which only the repository must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageReference(pub(crate) String);

impl ImageReference {
    pub(crate) fn has_tag_or_digest(&self) -> bool {
        let last = self.0.rsplit('/').next().unwrap_or_default();
        last.contains([':', '@'])
    }
}

impl Leaf for ImageReference {
    fn expected() -> String {
        "an image such as `my-org/my-app:1.2.0`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        check(&scalar.text)?;
        Ok(Self(scalar.text.clone()))
    }

    fn schema() -> Json {
        json!({"type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9][-A-Za-z0-9._/:@]*$"})
    }
}

/// The version of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) String);

impl Leaf for Tag {
    fn expected() -> String {
        "a tag such as `1.2.0`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let hint = "a tag has letters, digits, `_`, `.` and `-`";
        if is_tag(&scalar.text) { Ok(Self(scalar.text.clone())) } else { Err(Wrong::with_hint(hint)) }
    }

    fn schema() -> Json {
        json!({"type": ["string", "number"], "pattern": "^[A-Za-z0-9_.-]{1,128}$"})
    }
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len()) && tag.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn check(reference: &str) -> Result<(), Wrong> {
    let wrong = || Wrong::because(format!("{} is not the reference of an image", quoted(reference)));
    let (name, digest) =
        reference.split_once('@').map_or((reference, None), |(name, digest)| (name, Some(digest)));
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Err(wrong().hint("a digest is `sha256:` and 64 hexadecimal digits"));
    }
    let (path, last) = name.rsplit_once('/').map_or((None, name), |(path, last)| (Some(path), last));
    let (repository, tag) = last.split_once(':').map_or((last, None), |(name, tag)| (name, Some(tag)));
    if !tag.is_none_or(is_tag) {
        return Err(wrong().hint("a tag has letters, digits, `_`, `.` and `-`"));
    }
    let component = |part: &str| {
        !part.is_empty()
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c))
    };
    // The first part may be a registry, which has a port or capitals.
    let registry = |part: &str| {
        part.chars().all(|c| c.is_ascii_alphanumeric() || "_.-:".contains(c)) && !part.is_empty()
    };
    let mut parts = path.into_iter().flat_map(|path| path.split('/'));
    let fits = parts.next().is_none_or(registry) && parts.all(component) && component(repository);
    if fits { Ok(()) } else { Err(wrong().hint("it reads like `my-org/my-app:1.2.0`, in lower case")) }
}

fn is_digest(digest: &str) -> bool {
    digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit()))
}
