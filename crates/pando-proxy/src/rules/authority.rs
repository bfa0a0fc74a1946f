//! Forward auth: another service says whether a request may pass.

use std::sync::Arc;
use std::time::Duration;

use pando_http::{Known, write};
use pando_routing::rule::access::ForwardAuth;

use super::asking::{Answered, Question, ask};
use super::shown::Shown;
use crate::plane::Plane;
use crate::snapshot::PoolView;

/// Bytes of its page that may go to the client.
const MOST_PAGE: usize = 256 << 10;

/// What it says.
#[derive(Debug)]
pub(super) enum Said {
    Pass(Answered),
    /// Its answer is the client's.
    No(Answered),
    /// Nothing, or nothing in time. Nobody passes.
    Nothing,
}

pub(super) async fn consult(
    auth: &ForwardAuth,
    pool: &Arc<PoolView>,
    shown: Shown<'_>,
    id: &[u8],
    plane: &Arc<Plane>,
) -> Said {
    let question = Question {
        pool: Arc::clone(pool),
        head: head(auth, shown, id),
        body: Vec::new(),
        most: Some(MOST_PAGE),
        patience: Duration::from_millis(auth.timeout_millis),
        client: shown.client,
        complete: false,
    };
    match ask(question, plane).await {
        Some(answer) if (200..300).contains(&answer.status) => Said::Pass(answer),
        // What failed is the service, not the visitor.
        Some(answer) if answer.status >= 500 => {
            tracing::debug!(status = answer.status, "forward auth failed");
            Said::Nothing
        }
        Some(answer) => Said::No(answer),
        None => Said::Nothing,
    }
}

/// The question, as a request.
fn head(auth: &ForwardAuth, shown: Shown<'_>, id: &[u8]) -> Vec<u8> {
    let (head, bytes) = (&shown.paper.head, shown.paper.bytes.bytes());
    let mut out = Vec::with_capacity(1024);
    for part in [b"GET ", auth.path.as_bytes(), b" HTTP/1.1\r\nhost: "] {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(head.host.bytes(bytes));
    out.extend_from_slice(b"\r\n");
    for field in head.fields.iter().filter(|field| !field.dropped && !is_kept_back(field.known)) {
        let name = field.name.bytes(bytes);
        let wanted =
            |names: &Vec<Arc<str>>| names.iter().any(|wanted| wanted.as_bytes().eq_ignore_ascii_case(name));
        if !is_ours_to_say(name) && auth.send.as_ref().is_none_or(wanted) {
            write::field(&mut out, name, field.value.bytes(bytes));
        }
    }
    write::field(&mut out, b"x-request-id", id);
    out.extend_from_slice(shown.paper.trace.all());
    write::field(&mut out, b"x-forwarded-method", head.method_text.bytes(bytes));
    write::field(&mut out, b"x-forwarded-uri", head.origin.bytes(bytes));
    out.extend_from_slice(b"\r\n");
    out
}

/// Of the body, or of the proxy's own.
fn is_kept_back(known: Known) -> bool {
    use Known::{ContentLength, Expect, Host, Proxy, XRequestId};
    known.is_about_client() || matches!(known, ContentLength | Expect | Host | Proxy | XRequestId)
}

/// What the service must be able to believe, in whichever disguise; and what would make it answer something else than yes or no.
fn is_ours_to_say(name: &[u8]) -> bool {
    let plain: Vec<u8> =
        name.iter().map(|byte| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }).collect();
    plain.starts_with(b"x-forwarded-")
        || plain.starts_with(b"if-")
        || matches!(&*plain, b"range" | b"x-real-ip" | b"x-request-id" | b"forwarded")
}
