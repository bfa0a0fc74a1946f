//! One proxy takes another's place, and nobody notices.
//!
//! The successor asks over the control socket of the one that serves, its *elder*. It is given the listening sockets
//! themselves, so that no connection in their queues is lost, the table, keys, and what is known of every endpoint's health. Only
//! when it has all that in use and takes connections does it say so; then the elder takes no more, ends what it has begun, and ends.
//! Should the successor die or fail before, the elder goes on as if nothing had happened.
//!
//! Until the elder has ended, the line between the two stays: the successor passes each new table on, since requests and WebSockets
//! of the elder are subject to it too, and adds the elder's requests under way to its own. Whoever asks about an endpoint
//! asks one proxy.

mod give;
mod line;
mod start;
mod take;

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use give::{Giver, HeldDoor};
pub(crate) use line::{PATH, PROTOCOL};
pub(crate) use start::start;
pub(crate) use take::{Elder, Inheritance, Left, Waiting};
pub use take::{Predecessor, upgrade};

/// What a listening socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// Connections without TLS.
    Plain,
    Tls,
    Metrics,
}

/// What a proxy tells whoever runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Its table is in use, as far as there is one, and connections are taken. Said once.
    Serving,
    /// Another process serves in its place. It ends when its last connection has.
    HandedOver { pid: u32 },
}

/// How a proxy starts the one that is to take its place: the same way as itself, from the program that is installed by then.
#[derive(Debug, Clone)]
pub struct Successor {
    pub program: PathBuf,
    /// Must have it take over from whoever serves at the control socket.
    pub args: Vec<OsString>,
}
