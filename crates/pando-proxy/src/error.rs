//! Why a proxy couldn't start or go on.

use std::io;
use std::path::PathBuf;

use pando_routing::TableError;

/// What kept the proxy from starting. Once it runs, trouble is logged and survived.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("cannot listen on {address}; is another program using it?")]
    Bind {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot use a listener that was handed over")]
    Listener {
        #[source]
        source: io::Error,
    },
    #[error("cannot start a thread to serve clients")]
    Worker {
        #[source]
        source: io::Error,
    },
    #[error("cannot prepare for TLS")]
    Tls {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("nothing to listen on: give at least one listener")]
    NoListener,
    #[error("cannot open the control socket `{}`", path.display())]
    ControlSocket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot take over from the proxy at `{}`", path.display())]
    TakeOver {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("no proxy answers at `{}`; to start one, leave out `--reload`", path.display())]
    NobodyThere {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the proxy at `{}` was not replaced", path.display())]
    Upgrade {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot open the access log `{}`", path.display())]
    AccessLog {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read the table `{}`", path.display())]
    ReadTable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the table `{}` is not valid: {}", path.display(), reasons.join("; "))]
    BadTable { path: PathBuf, reasons: Vec<String> },
}

/// Why a table was not taken. Whatever was in use before still is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the table is not valid")]
    Invalid(Vec<String>),
    #[error("version {offered} is lower than {held}, which is in use")]
    Lower { offered: String, held: String },
    #[error("version {0} is in use with other content; a changed table needs a higher version")]
    Conflict(String),
    #[error("this proxy takes its table from the file `{0}`")]
    FromFile(String),
    #[error("another proxy serves in the place of this one; ask again")]
    HandedOver,
    #[error("cannot check the table")]
    Unchecked {
        #[source]
        source: io::Error,
    },
    #[error("cannot write the state file `{path}`")]
    Persist {
        path: String,
        #[source]
        source: io::Error,
    },
}

impl From<Vec<TableError>> for Refusal {
    fn from(errors: Vec<TableError>) -> Self {
        Self::Invalid(errors.iter().map(ToString::to_string).collect())
    }
}
