//! What pages of other origins may do (the Fetch standard, "CORS protocol").

use std::sync::Arc;

use pando_routing::rule::Asks;
use pando_routing::rule::answers::{Cors, OriginMatch};

use super::shown::Shown;

/// Fields of an answer.
pub(super) type Fields = Vec<(Arc<str>, Vec<u8>)>;

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// What a replica may not say for itself where the table does.
pub(super) fn is_ours(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"access-control-";
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// What goes along with an answer.
pub(super) fn fields(cors: &Cors, shown: Shown<'_>) -> Fields {
    let mut fields = origin(cors, shown);
    if !fields.is_empty() && !cors.expose.is_empty() {
        fields.push(("access-control-expose-headers".into(), list(&cors.expose)));
    }
    vary(cors, &mut fields, "Origin");
    fields
}

/// The answer to a preflight; `None`: the request is none.
pub(super) fn preflight(cors: &Cors, shown: Shown<'_>) -> Option<Fields> {
    shown.header("origin").next()?;
    let wanted = shown.header("access-control-request-method").next()?;
    if shown.method() != b"OPTIONS" {
        return None;
    }
    let mut fields = origin(cors, shown);
    let allows = cors.methods.iter().any(|method| method.as_bytes() == wanted);
    if !fields.is_empty() && allows {
        fields.push(("access-control-allow-methods".into(), list(&cors.methods)));
        if let Some(headers) = headers(cors, shown) {
            fields.push(("access-control-allow-headers".into(), headers));
        }
        fields.push(("access-control-max-age".into(), cors.max_age_seconds.to_string().into_bytes()));
    }
    vary(cors, &mut fields, "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    Some(fields)
}

/// Empty: the page's origin may not.
fn origin(cors: &Cors, shown: Shown<'_>) -> Fields {
    let Some(origin) = shown.header("origin").next().and_then(|origin| std::str::from_utf8(origin).ok())
    else {
        return Fields::new();
    };
    if !cors.origins.iter().any(|known| known.covers(origin)) {
        return Fields::new();
    }
    let allowed = if is_open(cors) { "*" } else { origin };
    let mut fields = vec![(ALLOW_ORIGIN.into(), allowed.as_bytes().to_vec())];
    if cors.credentials {
        fields.push(("access-control-allow-credentials".into(), b"true".to_vec()));
    }
    fields
}

/// Answers are the same for every page.
fn is_open(cors: &Cors) -> bool {
    cors.origins.contains(&OriginMatch::Any) && !cors.credentials
}

fn headers(cors: &Cors, shown: Shown<'_>) -> Option<Vec<u8>> {
    if cors.headers.iter().any(|name| **name == *"*") {
        let asked = shown.header("access-control-request-headers").next()?;
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~, ".contains(byte);
        return asked.iter().all(fits).then(|| asked.to_vec());
    }
    (!cors.headers.is_empty()).then(|| list(&cors.headers))
}

fn vary(cors: &Cors, fields: &mut Fields, names: &str) {
    if !is_open(cors) || names.len() > "Origin".len() {
        fields.push(("vary".into(), names.as_bytes().to_vec()));
    }
}

fn list(names: &[impl AsRef<str>]) -> Vec<u8> {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    names.join(", ").into_bytes()
}
