//! Paths in URLs, volumes, and where assets lie.

use pando_model::app::VolumeSpec;
use pando_model::asset::AssetPath;
use serde_json::{Value as Json, json};

use crate::decode::{Leaf, Wrong};
use crate::diagnostic::quoted;
use crate::tree::Scalar;

/// A path that starts with `/`, perhaps with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UrlPath(pub(crate) String);

impl Leaf for UrlPath {
    fn expected() -> String {
        "a path such as `/health`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let path = &scalar.text;
        if let Some(odd) =
            path.chars().find(|c| c.is_whitespace() || c.is_control() || !c.is_ascii() || *c == '#')
        {
            let reason = format!("{} has {} in it", quoted(path), quoted(&odd.to_string()));
            return Err(
                Wrong::because(reason).hint("write such characters percent-encoded: `%20` for a space")
            );
        }
        if path.contains("://") {
            return Err(Wrong::with_hint("write only the path, without scheme and host"));
        }
        if !path.starts_with('/') {
            return Err(Wrong::because(format!("{} does not start with `/`", quoted(path)))
                .hint(format!("write `/{path}`")));
        }
        Ok(Self(path.clone()))
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^/[!-\"$-~]*$"})
    }
}

/// `SOURCE:TARGET`, perhaps with `:ro` or `:rw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume(pub(crate) VolumeSpec);

impl Leaf for Volume {
    fn expected() -> String {
        "a volume such as `uploads:/app/uploads`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let parts: Vec<&str> = scalar.text.split(':').collect();
        let (source, target, mode) = match parts[..] {
            [source, target] => (source, target, "rw"),
            [source, target, mode] => (source, target, mode),
            _ => return Err(Wrong::default()),
        };
        let named = source.starts_with(|c: char| c.is_ascii_alphanumeric())
            && source.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if !named && !source.starts_with('/') {
            let reason = format!("{} is neither a volume's name nor an absolute path", quoted(source));
            return Err(Wrong::because(reason));
        }
        if !target.starts_with('/') {
            return Err(Wrong::because(format!("{} is not an absolute path", quoted(target))));
        }
        check_target(target)?;
        let read_only = match mode {
            "ro" => true,
            "rw" => false,
            _ => return Err(Wrong::because(format!("expected `ro` or `rw`, found {}", quoted(mode)))),
        };
        Ok(Self(VolumeSpec { source: source.to_owned(), target: target.to_owned(), read_only }))
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^([A-Za-z0-9][-A-Za-z0-9_.]*|/[^:]*):/[^:]*(:(ro|rw))?$"})
    }
}

/// Where the kernel lets nothing be mounted, or nothing would be left of the image.
fn check_target(target: &str) -> Result<(), Wrong> {
    let parts: Vec<&str> = target.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let why = match parts[..] {
        [] => "is all of the image: nothing would be left to run",
        ["proc", ..] => "is the kernel's: nothing can be mounted there",
        _ if parts.contains(&"..") => "has `..` in it",
        _ => return Ok(()),
    };
    let reason = Wrong::because(format!("{} {why}", quoted(target)));
    Err(reason.hint("name a directory of the image that holds data: `uploads:/app/uploads`"))
}

/// A directory of an image, or of the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assets(pub(crate) AssetPath);

impl Leaf for Assets {
    fn expected() -> String {
        "a directory such as `/app/public/assets` or, with `source`, `public/assets`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let path = AssetPath::new(&scalar.text).map_err(Wrong::because)?;
        let first = path.as_str().strip_prefix('/').and_then(|path| path.split('/').next());
        if matches!(first, Some("proc" | "sys" | "dev")) {
            let reason = format!("{} is the kernel's, and holds no assets", quoted(path.as_str()));
            return Err(Wrong::because(reason)
                .hint("name the directory of the fingerprinted files: `/app/public/assets`"));
        }
        Ok(Self(path))
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^/?[^/]+(/[^/]+)*/*$"})
    }
}
