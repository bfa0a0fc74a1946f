//! Keeps this server's proxy on the newest table, and tells what it confirms.
//!
//! [`view::View`] is what is known of the proxy and judges what to do next; [`link`]
//! speaks with it over its socket; [`kept`] is the newest table on disk, so that
//! a restart of this program or of the proxy leaves neither without one.

mod call;
mod kept;
mod link;
pub mod view;

pub(crate) use link::{Link, LinkOrder, LinkSetup};
