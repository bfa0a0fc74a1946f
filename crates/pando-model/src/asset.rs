//! Where an app's assets lie: the files that pages ask for by names that change with their content.

use serde::{Deserialize, Serialize};

/// Longer paths are no file system's.
const MOST: usize = 1024;

/// A directory: absolute in an image, relative to the app's own directory otherwise. It leads nowhere else: no part of it is `.` or
/// `..`, and it is not all there is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct AssetPath(String);

impl AssetPath {
    /// A slash at the end means nothing.
    ///
    /// # Errors
    /// A sentence, when it is no such path.
    pub fn new(text: &str) -> Result<Self, String> {
        let path = text.trim_end_matches('/');
        let relative = path.strip_prefix('/').unwrap_or(path);
        // First: what is said below shows the text.
        if text.chars().any(char::is_control) {
            return Err("a path of assets has characters that can't be printed".to_owned());
        }
        if text.len() > MOST {
            return Err(format!("a path of assets has at most {MOST} bytes"));
        }
        if relative.is_empty() {
            return Err(format!("`{text}` names no directory of assets"));
        }
        match relative.split('/').find(|part| matches!(*part, "" | "." | "..")) {
            Some("") => Err(format!("`{text}` has `//` in it")),
            Some(part) => Err(format!("`{text}` has `{part}` in it")),
            None => Ok(Self(path.to_owned())),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// It is one of an image.
    #[must_use]
    pub fn is_absolute(&self) -> bool {
        self.0.starts_with('/')
    }

    /// Whether the one lies in the other, or is it. `other` is absolute, such as where a volume is mounted.
    #[must_use]
    pub fn overlaps(&self, other: &str) -> bool {
        let (own, other) = (self.0.split('/'), other.trim_end_matches('/').split('/'));
        own.zip(other).all(|(own, other)| own == other)
    }
}

impl TryFrom<String> for AssetPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text)
    }
}

impl From<AssetPath> for String {
    fn from(path: AssetPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_assets_leads_nowhere_else() {
        for (text, path) in
            [("/app/public/assets", "/app/public/assets"), ("public/assets/", "public/assets"), ("/a", "/a")]
        {
            assert_eq!(AssetPath::new(text).unwrap().as_str(), path);
        }
        for bad in ["", "/", "//", ".", "./public", "a/../b", "/..", "a//b", "a\nb", "a/."] {
            assert!(AssetPath::new(bad).is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<AssetPath>("\"../up\"").is_err());
    }

    #[test]
    fn paths_that_lie_in_each_other_overlap() {
        let path = AssetPath::new("/app/public/assets").unwrap();
        for (other, overlaps) in [
            ("/app/public/assets", true),
            ("/app/", true),
            ("/app/public/assets/old", true),
            ("/", true),
            ("/app/public/assets2", false),
            ("/srv", false),
        ] {
            assert_eq!(path.overlaps(other), overlaps, "{other}");
        }
    }
}
