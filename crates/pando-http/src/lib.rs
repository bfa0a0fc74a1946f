//! HTTP/1 messages as bytes, for a proxy: heads are read strictly and where they lie, bodies are framed and unframed.
//!
//! Nothing here does IO, reads a clock or keeps a map of headers. A head is found with [`HeadScan`], read with
//! [`RequestHead::read`] or [`ResponseHead::read`], and stays in the buffer that it came in: what is known of it are
//! places in that buffer. A body goes through a [`Decoder`].
//!
//! The policy is strict where the sender could mean two things: such a message is refused whole, so that nothing of it
//! reaches an endpoint (RFC 9112, 11.2). [`Refusal`] lists what that is. Who may send which fields, and where a request
//! goes, is not decided here.

mod body;
pub mod field;
mod host;
pub mod path;
mod refusal;
mod request;
mod response;
mod scan;
mod span;
mod trailers;
pub mod write;

pub use body::{Decoder, Malformed, Piece};
pub use field::{Field, Fields, Known};
pub use host::is_host;
pub use refusal::Refusal;
pub use request::{Framing, Method, RequestHead, Version};
pub use response::{NotHttp, ResponseFraming, ResponseHead};
pub use scan::{HeadScan, Scanned, empty_lines};
pub use span::Span;
pub use trailers::Trailers;

/// Bounds of a message's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the whole head, its last empty line included.
    pub head_bytes: usize,
    /// Of the request's target.
    pub target_bytes: usize,
    /// How many fields.
    pub fields: usize,
}

/// More fields than this are never read, whatever the limits say.
pub const MOST_FIELDS: usize = 256;

impl Default for Limits {
    /// 64 KiB, 8 KiB and 100: what the research of the field's proxies came to. Larger than nginx's 8 KiB a line, and than
    /// any browser's cookies.
    fn default() -> Self {
        Self { head_bytes: 64 << 10, target_bytes: 8 << 10, fields: 100 }
    }
}
