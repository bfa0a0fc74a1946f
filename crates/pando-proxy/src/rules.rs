//! Traffic rules at work: what a request shows to those that ask, and what they do to it.
//!
//! A rule that does nothing but lead to a pool costs nothing here.

mod shown;

pub(crate) use shown::Shown;
