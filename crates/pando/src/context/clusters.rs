//! The clusters that this user named: a file each, and which of them is meant when nothing else says.
//!
//! They lie in `~/.config/pando/clusters/NAME.json`, readable by their owner
//! alone: each holds a token. `~/.config/pando/current` holds a name.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use pando_api::Bearer;
use pando_rt::fs::{read_if_there, write_atomically};

use super::cluster::{self, ContextFile};
use crate::exit::Trouble;

/// Where they lie.
#[derive(Debug, Clone)]
pub(crate) struct Clusters {
    directory: PathBuf,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedCluster {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) has_token: bool,
}

impl Clusters {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// By name.
    ///
    /// # Errors
    /// When a file can't be read or understood.
    pub(crate) fn list(&self) -> anyhow::Result<Vec<NamedCluster>> {
        let mut clusters = Vec::new();
        for name in self.names() {
            if let Some(file) = cluster::read(&self.path(&name))? {
                clusters.push(NamedCluster { name, url: file.url, has_token: file.token.is_some() });
            }
        }
        Ok(clusters)
    }

    pub(super) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".json").map(str::to_owned).filter(|name| cluster::is_name(name))
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// # Errors
    /// When the name is none, is taken and `replace` was not said, or the disk says no.
    pub(crate) fn add(
        &self,
        name: &str,
        url: &str,
        token: Option<&Bearer>,
        replace: bool,
    ) -> anyhow::Result<()> {
        self.check_free(name, replace)?;
        let file = ContextFile { url: url.to_owned(), token: token.map(|token| token.reveal().to_owned()) };
        self.write(&self.path(name), &serde_json::to_vec_pretty(&file)?)
    }

    /// # Errors
    /// As [`Clusters::add`], before anything is asked of the cluster.
    pub(crate) fn check_free(&self, name: &str, replace: bool) -> anyhow::Result<()> {
        cluster::check_name(name)?;
        if !replace && self.path(name).exists() {
            let trouble = Trouble::wrong(format!("a cluster `{name}` is known already"));
            return Err(trouble.hint("say `--replace`, or choose another name").into());
        }
        Ok(())
    }

    /// # Errors
    /// When there is none of that name, or the disk says no.
    pub(crate) fn remove(&self, name: &str) -> anyhow::Result<()> {
        self.check_known(name)?;
        let path = self.path(name);
        fs::remove_file(&path).with_context(|| format!("can't remove `{}`", path.display()))?;
        if self.current()?.as_deref() == Some(name) {
            let path = self.current_path();
            fs::remove_file(&path).with_context(|| format!("can't remove `{}`", path.display()))?;
        }
        Ok(())
    }

    /// # Errors
    /// When there is none of that name, or the disk says no.
    pub(crate) fn choose(&self, name: &str) -> anyhow::Result<()> {
        self.check_known(name)?;
        self.write(&self.current_path(), format!("{name}\n").as_bytes())
    }

    /// The one that was chosen and is still there.
    ///
    /// # Errors
    /// When the file can't be read.
    pub(crate) fn current(&self) -> anyhow::Result<Option<String>> {
        let path = self.current_path();
        let bytes = read_if_there(&path).with_context(|| format!("can't read `{}`", path.display()))?;
        let name = bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        Ok(name.filter(|name| cluster::is_name(name) && self.path(name).is_file()))
    }

    fn check_known(&self, name: &str) -> anyhow::Result<()> {
        cluster::check_name(name)?;
        if self.path(name).is_file() {
            return Ok(());
        }
        Err(cluster::unknown(&format!("`{name}`"), &self.names()).into())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    fn current_path(&self) -> PathBuf {
        self.directory.with_file_name("current")
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        let directory = &self.directory;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.with_context(|| format!("can't make the directory `{}`", directory.display()))?;
        write_atomically(path, bytes, 0o600).with_context(|| format!("can't write `{}`", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(clusters: &Clusters) -> Vec<String> {
        clusters.list().unwrap().into_iter().map(|cluster| cluster.name).collect()
    }

    #[test]
    fn clusters_are_kept_chosen_and_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let clusters = Clusters::new(home.path().join("pando/clusters"));
        assert_eq!((names(&clusters).len(), clusters.current().unwrap()), (0, None));
        let token = Bearer::new("pando_x").unwrap();
        clusters.add("prod", "https://a:7420", Some(&token), false).unwrap();
        clusters.add("dev", "http://localhost:1", None, false).unwrap();
        assert_eq!(names(&clusters), ["dev", "prod"]);
        assert!(
            clusters.add("prod", "https://b", None, false).unwrap_err().to_string().contains("known already")
        );
        clusters.add("prod", "https://b", None, true).unwrap();

        clusters.choose("prod").unwrap();
        assert_eq!(clusters.current().unwrap().as_deref(), Some("prod"));
        assert!(clusters.choose("gone").is_err());
        clusters.remove("prod").unwrap();
        assert_eq!((names(&clusters), clusters.current().unwrap()), (vec!["dev".to_owned()], None));
        assert!(clusters.remove("prod").is_err());
    }

    #[test]
    fn tokens_are_for_their_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let clusters = Clusters::new(home.path().join("pando/clusters"));
        clusters.add("prod", "https://a", None, false).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&clusters.path("prod")), 0o600);
        assert_eq!(mode(&home.path().join("pando/clusters")), 0o700);
        for odd in ["", "../prod", ".hidden", "a/b", "a b"] {
            assert!(clusters.add(odd, "https://a", None, true).is_err(), "{odd}");
        }
    }
}
