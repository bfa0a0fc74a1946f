//! Traffic rules at work: what a request shows to those that ask, and what they do to it.
//!
//! A rule that does nothing but lead to a pool has no [`Route`], and costs nothing here. Any other is compiled once a table; its
//! requests take the way through [`run`], which ends where those of all rules go: with an endpoint's answer, or a page.

mod asking;
mod authority;
mod case;
mod change;
mod copy;
mod cors;
mod door;
mod down;
mod entry;
mod fill;
mod limit;
mod live;
mod password;
mod pause;
mod redirect;
pub(crate) mod route;
mod run;
mod shown;
mod side;
mod squeeze;
mod up;

pub(crate) use change::Change;
pub(crate) use live::{Reason, RouteLive};
pub(crate) use route::Route;
pub(crate) use run::run;
pub(crate) use shown::Shown;
