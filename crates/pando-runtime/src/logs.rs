//! What runs print, kept per replica, rotated, and read again in the order of time.
//!
//! One file a replica, `APP/NAME.log`, with its older parts beside it (`NAME.log.1` is the newest of them). Several writers may
//! share a file: during a deployment the old and the new instance of `web-2` both write to it. A line of the file is
//!
//! ```text
//! 2026-01-31T12:00:00.123Z o listening on 20001
//! ```
//!
//! with `o` for stdout, `e` for stderr and `p` for Pando's own remarks. Which runs there are, and who may read, is not known here.

mod files;
mod line;
mod query;
mod reader;
mod writer;

pub use files::{LogSettings, LogStore};
pub use line::{Line, Stream};
pub use query::{Query, Sources};
pub use reader::LogStream;
pub use writer::LogWriter;
