//! What a keeper is told to keep, and what it says of itself, on disk.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::dir::read_json;
use crate::logs::LogSettings;
use crate::proc::Process;

pub(crate) const SPEC: &str = "keep.json";
pub(crate) const STATE: &str = "state.json";
pub(crate) const LOCK: &str = "lock";

/// What to keep running.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeepSpec {
    /// What it is called in its log, `LOG_DIRECTORY/NAME.log`, such as `proxy`.
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<String>,
    /// The whole environment, but for `PANDO_LISTEN`.
    pub env: BTreeMap<String, String>,
    /// The system user that the program becomes, after the sockets are bound. `None`: as the caller.
    pub user: Option<String>,
    /// Where to listen, in the order in which the program gets the sockets. Port 0: any.
    pub listen: Vec<SocketAddr>,
    /// Absolute; holds the keeper's lock and state. One keeper lives in one directory.
    pub dir: PathBuf,
    /// A second one, started beside the first, takes its place without a gap and says when ([`crate::listen::KeeperLine`]); then the
    /// first ends by itself. So it can be [renewed](crate::keeper::Keeper::renew).
    #[serde(default)]
    pub hands_over: bool,
    pub log_directory: PathBuf,
    pub log: LogSettings,
}

/// What a keeper says of itself, in `state.json` of its directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeepState {
    pub(crate) keeper: Process,
    /// What it does: `keep.json` may have been written anew since.
    pub(crate) spec: KeepSpec,
    /// With the ports that they have got.
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) child: Option<Process>,
    /// How often something else was to be kept, with or without success.
    #[serde(default)]
    pub(crate) renewals: u64,
    /// Why the last of them came to nothing.
    #[serde(default)]
    pub(crate) renewal_error: Option<String>,
}

impl KeepState {
    pub(super) fn new(spec: &KeepSpec, listen: Vec<SocketAddr>) -> Self {
        let (keeper, spec) = (Process::this(), spec.clone());
        Self { keeper, spec, listen, child: None, renewals: 0, renewal_error: None }
    }
}

impl KeepSpec {
    /// Whether a keeper of `held` can go on with this.
    #[must_use]
    pub fn is_renewal_of(&self, held: &Self) -> bool {
        let same = (&self.name, &self.listen, &self.dir, &self.user)
            == (&held.name, &held.listen, &held.dir, &held.user);
        same && self.hands_over && held.hands_over
    }
}

/// What `keep.json` asks for now, if it can be had without another keeper.
pub(super) fn wanted(held: &KeepSpec) -> Result<KeepSpec, String> {
    let path = held.dir.join(SPEC);
    let wanted: Option<KeepSpec> =
        read_json(&path).map_err(|error| format!("can't read `{}`: {error}", path.display()))?;
    let wanted = wanted.ok_or_else(|| format!("`{}` holds no spec", path.display()))?;
    match wanted.is_renewal_of(held) {
        true => Ok(wanted),
        false => Err("what is wanted needs another keeper".to_owned()),
    }
}
