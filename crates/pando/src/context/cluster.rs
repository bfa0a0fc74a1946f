//! Which cluster to speak to, and with which token.
//!
//! In this order: `--cluster`; PANDO_CLUSTER_URL with PANDO_TOKEN; the cluster of
//! `pando dev` in the project's directory or above; the one that the file's target
//! names; the one of `pando cluster use`; the one whose control server this is.

use std::path::{Path, PathBuf};

use pando_api::Bearer;
use pando_config::Target;
use pando_rt::fs::read_if_there;
use serde::{Deserialize, Serialize};

use super::clusters::Clusters;
use crate::exit::{Trouble, UNREACHABLE, WRONG};
use crate::words::listed;

/// What the environment says, and where clusters are known from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// PANDO_CLUSTER_URL.
    pub(crate) url: Option<String>,
    /// PANDO_TOKEN.
    pub(crate) token: Option<String>,
    /// Holds a `NAME.json` for each cluster that was named.
    pub(crate) clusters: Option<PathBuf>,
    /// The state directory of this server's own daemon.
    pub(crate) state: PathBuf,
}

impl Known {
    /// `None`: there is no home to keep them in.
    pub(super) fn clusters(&self) -> Option<Clusters> {
        self.clusters.clone().map(Clusters::new)
    }

    pub(crate) fn of_environment() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let config = set("XDG_CONFIG_HOME").map(PathBuf::from);
        let config = config.or_else(|| Some(PathBuf::from(set("HOME")?).join(".config")));
        Self {
            url: set("PANDO_CLUSTER_URL"),
            token: set("PANDO_TOKEN"),
            clusters: config.map(|config| config.join("pando/clusters")),
            state: PathBuf::from("/var/lib/pando"),
        }
    }
}

/// A cluster that was chosen.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) url: String,
    pub(crate) token: Option<Bearer>,
    pub(crate) origin: Origin,
}

/// Why this cluster was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Environment,
    /// By this file of `pando dev`.
    Dev(PathBuf),
    /// By a known name.
    Named(String),
    /// This server's own.
    Server,
}

impl Origin {
    /// What people call the cluster; its address where it has no name.
    pub(crate) fn label(&self, url: &str) -> String {
        match self {
            Self::Flag | Self::Environment => url.to_owned(),
            Self::Dev(_) => "pando dev".to_owned(),
            Self::Named(name) => name.clone(),
            Self::Server => "this server".to_owned(),
        }
    }

    /// What to do when it does not answer.
    pub(crate) fn absence_hint(&self) -> String {
        match self {
            Self::Flag => "is the address right, and does `pando daemon` run there?".to_owned(),
            Self::Environment => {
                "PANDO_CLUSTER_URL names it: is it right, and does `pando daemon` run there?".to_owned()
            }
            Self::Dev(path) => {
                let path = path.display();
                format!(
                    "`{path}` names it: `pando dev` starts it (again); `--cluster NAME` speaks to another"
                )
            }
            Self::Named(name) => {
                format!("`{name}` is that address: is it right, and does `pando daemon` run there?")
            }
            Self::Server => "start this server's daemon: `systemctl start pando`".to_owned(),
        }
    }
}

/// The file that says how to reach a cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ContextFile {
    pub(super) url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
}

const CONTEXT: &str = "context.json";
const DEV: &str = ".pando";

/// Chooses; nothing is sent.
pub(super) fn find(
    flag: Option<&str>,
    target: Option<&Target>,
    project: &Path,
    known: &Known,
) -> anyhow::Result<Found> {
    if let Some(name) = flag {
        return by_flag(name, known);
    }
    if let Some(url) = &known.url {
        return Ok(Found {
            url: url.clone(),
            token: bearer(known.token.as_deref(), "PANDO_TOKEN")?,
            origin: Origin::Environment,
        });
    }
    if let Some(path) = dev_context(project) {
        let file = read(&path)?.ok_or_else(|| nowhere(&path))?;
        return found(file, &path, Origin::Dev(path.clone()));
    }
    if let Some(name) = target.and_then(|target| target.cluster.as_deref()) {
        return by_name(name, known);
    }
    if let Some(host) = target.and_then(|target| target.server.as_deref()) {
        return by_host(host, known);
    }
    if let Some(name) = known.clusters().map(|clusters| clusters.current()).transpose()?.flatten() {
        return by_name(&name, known);
    }
    let own = known.state.join(CONTEXT);
    match read(&own)? {
        Some(file) => found(file, &own, Origin::Server),
        None => Err(none().into()),
    }
}

/// Whether `pando dev` has a cluster in `project` or above.
pub(super) fn has_dev(project: &Path) -> bool {
    dev_context(project).is_some()
}

fn dev_context(project: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(project).ok()?;
    let plain = absolute.canonicalize().unwrap_or(absolute);
    let mut directories = plain.ancestors().map(|directory| directory.join(DEV).join(CONTEXT));
    directories.find(|path| path.is_file())
}

fn by_flag(name: &str, known: &Known) -> anyhow::Result<Found> {
    if name.contains("://") {
        let token = bearer(known.token.as_deref(), "PANDO_TOKEN")?;
        return Ok(Found { url: name.to_owned(), token, origin: Origin::Flag });
    }
    by_name(name, known)
}

/// One of those that this user named.
fn by_name(name: &str, known: &Known) -> anyhow::Result<Found> {
    check_name(name)?;
    let path = known.clusters().map(|clusters| clusters.path(name));
    let file = path.as_deref().map(read).transpose()?.flatten();
    match (file, path) {
        (Some(file), Some(path)) => found(file, &path, Origin::Named(name.to_owned())),
        _ => Err(unknown(&format!("`{name}`"), &names(known)).into()),
    }
}

fn names(known: &Known) -> Vec<String> {
    known.clusters().map(|clusters| clusters.names()).unwrap_or_default()
}

/// It becomes the name of a file.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('.') && name.len() <= 200 && name.chars().all(plain)
}

pub(super) fn check_name(name: &str) -> Result<(), Trouble> {
    if is_name(name) {
        return Ok(());
    }
    Err(Trouble::wrong(format!("`{name}` is no name of a cluster, and no https://HOST:PORT#sha256:…")))
}

/// The known cluster whose control address is at `host`, which may have a port.
fn by_host(host: &str, known: &Known) -> anyhow::Result<Found> {
    for name in names(known) {
        let Some(path) = known.clusters().map(|clusters| clusters.path(&name)) else { continue };
        let Some(file) = read(&path)? else { continue };
        if is_at(&file.url, host) {
            return found(file, &path, Origin::Named(host.to_owned()));
        }
    }
    Err(unknown(&format!("with its control server at `{host}`"), &names(known)).into())
}

/// Whether a control address is at `host`: a name or an address, which may have a port.
fn is_at(url: &str, host: &str) -> bool {
    let Some(authority) = url.parse::<http::Uri>().ok().and_then(|uri| uri.authority().cloned()) else {
        return false;
    };
    let bracketed = format!("[{host}]");
    [authority.as_str(), authority.host()]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(host) || known.eq_ignore_ascii_case(&bracketed))
}

fn found(file: ContextFile, path: &Path, origin: Origin) -> anyhow::Result<Found> {
    let token = bearer(file.token.as_deref(), &format!("the token in `{}`", path.display()))?;
    Ok(Found { url: file.url, token, origin })
}

fn bearer(text: Option<&str>, what: &str) -> anyhow::Result<Option<Bearer>> {
    let token = text.map(Bearer::new).transpose();
    token.map_err(|error| Trouble::wrong(format!("{what} is not usable: {error}")).into())
}

/// `None`: there is no such file.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<ContextFile>> {
    let refused = |message: String| Trouble::new(UNREACHABLE, "no_cluster", message);
    let bytes = read_if_there(path).map_err(|error| {
        let trouble = refused(format!("can't read `{}`: {error}", path.display()));
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => trouble
                .hint("run it as the user that it belongs to, or set PANDO_CLUSTER_URL and PANDO_TOKEN"),
            _ => trouble,
        }
    })?;
    let Some(bytes) = bytes else { return Ok(None) };
    let file = serde_json::from_slice(&bytes);
    Ok(Some(file.map_err(|error| {
        // The error's own words may quote the file, and so the token: only its place is told.
        let place = format!("line {}, column {}", error.line(), error.column());
        refused(format!("`{}` is no {{\"url\": …, \"token\": …}}, at {place}", path.display()))
    })?))
}

fn nowhere(path: &Path) -> Trouble {
    Trouble::new(UNREACHABLE, "no_cluster", format!("`{}` has gone", path.display()))
        .hint("`pando dev` starts a cluster here")
}

fn none() -> Trouble {
    Trouble::new(UNREACHABLE, "no_cluster", "there is no cluster to speak to").hint(
        "`pando dev` starts one on this machine; `pando cluster add` makes another known, or set PANDO_CLUSTER_URL and PANDO_TOKEN",
    )
}

/// A name that stands for nothing here is a wrong word, whatever can be reached.
pub(super) fn unknown(which: &str, names: &[String]) -> Trouble {
    let there = match names {
        [] => String::new(),
        names => format!("; known are {}", listed(names)),
    };
    let trouble = Trouble::new(WRONG, "no_cluster", format!("no cluster {which} is known{there}"));
    trouble.hint("`pando cluster add NAME URL` makes one known; PANDO_CLUSTER_URL and PANDO_TOKEN do without")
}

#[cfg(test)]
mod tests;
