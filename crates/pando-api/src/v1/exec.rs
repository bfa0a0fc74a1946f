//! Running a command beside a replica, or in a release of its own.
//!
//! `POST /v1/apps/APP/exec` with `Upgrade: pando-exec`. Once it is upgraded, both
//! sides speak [`crate::stream`]; the caller's first frame is an
//! [`super::agents::ExecStart`] whose `app` is the path's. For a one-off
//! (no `replica`), the control plane fills in the environment, and the release
//! that the app runs unless one is named.

pub use super::agents::{ExecStart, TerminalSize};
