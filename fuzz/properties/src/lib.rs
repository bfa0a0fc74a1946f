//! What must hold for any bytes that a stranger sends.
//!
//! Each function takes bytes and panics when a property is broken. `script/fuzz` looks for such bytes; the tests go
//! through those that it has kept, in `fuzz/corpus`.

mod chunked;
mod cookie;
mod head;
mod table;

pub use chunked::chunked;
pub use cookie::cookie;
pub use head::head;
pub use table::table;

/// One property, by the name of its fuzz target and corpus.
pub type Property = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Property; 4] = [("head", head), ("chunked", chunked), ("table", table), ("cookie", cookie)];
