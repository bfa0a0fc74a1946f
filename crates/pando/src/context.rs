//! What a command finds around it: the app's file, and the cluster to speak to.
//!
//! The environment is read once, here. Nothing is found by guessing: what is not
//! there is said, with what to do about it.

mod cluster;
mod clusters;
mod file;

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};

use pando_api::Client;
use pando_config::{Disk, Loaded, Target};
use pando_model::name::AppName;

pub(crate) use cluster::{Known, Origin};
pub(crate) use clusters::Clusters;

use crate::cli::{AppArgs, GlobalArgs};
use crate::exit::Trouble;
use crate::printer::Printer;
use crate::words::listed;

const WITHOUT_FILE: &str = "`pando init` writes one; `-c FILE` names another; `--app NAME` does without";

/// One call of `pando`: its flags, and what lies around it.
#[derive(Debug)]
pub(crate) struct Context {
    global: GlobalArgs,
    printer: Printer,
    known: Known,
    /// Which cluster was chosen, for hints.
    origin: OnceCell<Origin>,
    /// The file was only asked for the app's name.
    may_do_without: Cell<bool>,
}

/// An app on a cluster.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) name: AppName,
    pub(crate) client: Client,
}

impl Context {
    pub(crate) fn new(global: GlobalArgs) -> Self {
        let printer = Printer::new(&global);
        Self {
            global,
            printer,
            known: Known::of_environment(),
            origin: OnceCell::new(),
            may_do_without: Cell::default(),
        }
    }

    /// The same call, speaking to this cluster.
    pub(crate) fn speaking_to(&self, url: &str, token: &pando_api::Bearer) -> Self {
        let known =
            Known { url: Some(url.to_owned()), token: Some(token.reveal().to_owned()), ..self.known.clone() };
        let global = GlobalArgs { cluster: None, ..self.global.clone() };
        Self {
            global,
            printer: self.printer,
            known,
            origin: OnceCell::new(),
            may_do_without: Cell::default(),
        }
    }

    /// The same call, for one of several clusters: it remembers its own, and talks through `printer`.
    pub(crate) fn apart(&self, printer: Printer) -> Self {
        Self {
            global: self.global.clone(),
            printer,
            known: self.known.clone(),
            origin: OnceCell::new(),
            may_do_without: Cell::default(),
        }
    }

    pub(crate) fn printer(&self) -> Printer {
        self.printer
    }

    /// The app's file: `-c`, or the nearest.
    pub(crate) fn file(&self) -> anyhow::Result<PathBuf> {
        match self.file_if_any()? {
            Some(path) => Ok(path),
            None => Err(file::missing().into()),
        }
    }

    /// `None`: none was named, and none is here or above.
    pub(crate) fn file_if_any(&self) -> anyhow::Result<Option<PathBuf>> {
        match &self.global.file {
            Some(path) => Ok(Some(path.clone())),
            None => Ok(file::nearest()?),
        }
    }

    /// What `-c` names.
    pub(crate) fn named_file(&self) -> Option<PathBuf> {
        self.global.file.clone()
    }

    /// The directory that `pando dev` belongs to: the file's.
    pub(crate) fn project(&self) -> anyhow::Result<PathBuf> {
        Ok(file::directory_of(&self.file()?))
    }

    /// The file, read and checked.
    pub(crate) fn load(&self, target: Option<&str>) -> anyhow::Result<Loaded> {
        Ok(pando_config::load(&self.file()?, target, &Disk)?)
    }

    /// The cluster, whatever the file's targets say.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        self.client_for(None)
    }

    /// The cluster's address, with the fingerprint of its authority where it has one.
    pub(crate) fn url(&self) -> anyhow::Result<String> {
        Ok(self.found(None)?.url)
    }

    fn found(&self, target: Option<&Target>) -> anyhow::Result<cluster::Found> {
        let project = match self.file_if_any()? {
            Some(file) => file::directory_of(&file),
            None => PathBuf::from("."),
        };
        cluster::find(self.global.cluster.as_deref(), target, &project, &self.known)
    }

    /// The cluster for one target of the file.
    pub(crate) fn client_for(&self, target: Option<&Target>) -> anyhow::Result<Client> {
        let found = self.found(target)?;
        let client = Client::new(&found.url, found.token)?;
        // The first one counts: commands that speak to several say which failed.
        let _ = self.origin.set(found.origin);
        Ok(client)
    }

    /// The app that is meant, and its cluster.
    pub(crate) fn app(&self, args: &AppArgs) -> anyhow::Result<App> {
        match self.app_if_any(args)? {
            Some(app) => Ok(app),
            None => Err(file::missing().hint(WITHOUT_FILE).into()),
        }
    }

    /// `None`: no app was named and there is no file.
    pub(crate) fn app_if_any(&self, args: &AppArgs) -> anyhow::Result<Option<App>> {
        if let Some(name) = &args.app {
            let name = AppName::new(name.as_str()).map_err(|error| Trouble::wrong(error.to_string()))?;
            return Ok(Some(App { name, client: self.client()? }));
        }
        let Some(path) = self.file_if_any()? else { return Ok(None) };
        let loaded = pando_config::load(&path, args.target.as_deref(), &Disk);
        let loaded = loaded.inspect_err(|_| self.may_do_without.set(true))?;
        let target = self.one_target(&loaded, args.target.is_some())?;
        let client = self.client_for(target)?;
        Ok(Some(App { name: target.map_or(loaded.name.clone(), |target| target.spec.name.clone()), client }))
    }

    /// The target whose cluster is meant; `None` where the cluster is chosen by other means.
    fn one_target<'a>(&self, loaded: &'a Loaded, named: bool) -> anyhow::Result<Option<&'a Target>> {
        match &loaded.targets[..] {
            [target] => Ok(Some(target)),
            _ if !named && self.is_cluster_given()? => Ok(loaded.base.as_ref()),
            targets => Err(choose_target(targets, "").into()),
        }
    }

    /// By flag, environment or `pando dev`: the file's targets don't choose it.
    pub(crate) fn is_cluster_given(&self) -> anyhow::Result<bool> {
        let project = self.file_if_any()?.map_or(PathBuf::from("."), |file| file::directory_of(&file));
        Ok(self.global.cluster.is_some() || self.known.url.is_some() || cluster::has_dev(&project))
    }

    /// Why the cluster was chosen; `None` before it was.
    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.origin.get()
    }

    /// The clusters that this user named.
    pub(crate) fn clusters(&self) -> anyhow::Result<Clusters> {
        let none =
            || Trouble::wrong("there is no home to keep clusters in").hint("set HOME or XDG_CONFIG_HOME");
        Ok(self.known.clusters().ok_or_else(none)?)
    }

    /// PANDO_TOKEN, whichever cluster it is for.
    pub(crate) fn token_of_environment(&self) -> Option<&str> {
        self.known.token.as_deref()
    }

    /// What to do when the file is wrong and only told which app is meant.
    pub(crate) fn broken_file_hint(&self) -> Option<&'static str> {
        self.may_do_without.get().then_some("`--app NAME` does without the file")
    }

    /// What to do when the cluster does not answer.
    pub(crate) fn absence_hint(&self) -> String {
        self.origin.get().map_or_else(|| Origin::Flag.absence_hint(), Origin::absence_hint)
    }
}

/// The file has several targets and none was named. `also`: what else may be said than one's name.
pub(crate) fn choose_target(targets: &[Target], also: &str) -> Trouble {
    let names =
        listed(targets.iter().filter_map(|target| target.name.as_deref()).map(|name| format!("`{name}`")));
    Trouble::wrong("the file has several targets").hint(format!("name one with `-t`: {names}{also}"))
}

/// `path` as `-c` or a search gave it, without a `./` that nobody typed.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}
