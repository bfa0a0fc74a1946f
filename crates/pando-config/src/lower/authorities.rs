//! Authorities of certificates, from a file beside the one that names it.

use std::path::Path;

use super::Surroundings;
use crate::decode::Field;
use crate::diagnostic::Sink;
use crate::value::Text;

/// Bytes of such a file.
const MOST: usize = 1 << 20;

/// As the file has them.
pub(super) fn read(file: &Field<Text>, around: &Surroundings<'_>, sink: &mut Sink) -> Option<String> {
    let at = file.get()?;
    let path = Path::new(&at.value.0);
    let reason = match around.read(path) {
        Ok(bytes) if bytes.len() > MOST => format!("`{}` is larger than 1 MiB", path.display()),
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(pem) => match pando_routing::upstream::authorities(&pem) {
                Ok(_) => return Some(pem),
                Err(fault) => format!("`{}`: {fault}", path.display()),
            },
            Err(_) => format!("`{}` is not PEM", path.display()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("there is no file `{}`", path.display())
        }
        Err(error) => format!("`{}` can't be read: {error}", path.display()),
    };
    sink.error_hint(
        at.span,
        reason,
        "authorities are a file in PEM, named as seen from the directory of this one",
    );
    None
}
