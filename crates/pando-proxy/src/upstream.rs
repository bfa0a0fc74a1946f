//! Connections to endpoints, and what is said over them.

mod announce;
mod head;
mod link;
mod reach;
mod secure;
mod stream;

pub(crate) use announce::Ends;
pub(crate) use head::{UpgradeAsked, drop_claims, hide_cookie, tell_shown, write_changed_head, write_head};
pub(crate) use link::{HEAD_LIMITS, Heard, Link, LinkError, MOST_HEAD, Reader};
pub(crate) use reach::{Reach, Wanted};
pub(crate) use secure::{NoTls, Outbound, Outbounds, alert_of};
pub(crate) use stream::{Stream, Streams};
