//! Whether an image would fit on the disks of the servers that are to run it, and run there.
//!
//! Asked before the first byte is sent. A server that does not answer is not waited
//! for: it looks for itself before it fetches anything.

use std::path::Path;

use pando_api::v1::images::{DiskSpace, HostFacts};
use pando_api::{ErrorBody, ErrorCode};
use pando_image::space::{Disk, NoRoom};
use pando_model::image::Platform;
use pando_model::name::ServerName;

/// An engine unpacks a layer beside the archive that it came in.
const WHILE_LOADING: u64 = 2;

/// A server, and what it told about itself, or why it did not.
#[derive(Debug, Clone)]
pub struct Host {
    pub name: ServerName,
    pub facts: Result<HostFacts, String>,
}

impl Host {
    fn known(&self) -> Option<(&ServerName, &HostFacts)> {
        Some((&self.name, self.facts.as_ref().ok()?))
    }
}

/// # Errors
/// When what runs on `platform` does not run on one of the servers; all such are named.
pub fn check_platform(hosts: &[Host], platform: &Platform) -> Result<(), ErrorBody> {
    let others: Vec<String> = hosts
        .iter()
        .filter_map(Host::known)
        .filter(|(_, facts)| !platform.runs_on(&facts.platform))
        .map(|(name, facts)| format!("{name} is {}", facts.platform))
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    let text = format!("the image is for {platform}, but {}", others.join(", "));
    Err(ErrorBody::new(ErrorCode::Invalid, text)
        .hint("build it for the servers' platform, such as by `docker build --platform`"))
}

/// `here`: the control server's own disk. `new_bytes` are those of the layers that nobody has, unpacked.
///
/// # Errors
/// When a disk has no room for them, with the arithmetic of each such disk.
pub fn check(hosts: &[Host], here: Option<(&Path, Disk)>, new_bytes: u64) -> Result<(), ErrorBody> {
    let mut lacking: Vec<String> = Vec::new();
    // Packed layers are smaller; by how much is known when it is too late.
    if let Some(Err(error)) = here.map(|(path, disk)| disk.check(path, new_bytes)) {
        lacking.push(format!("the control server: {error}"));
    }
    for (name, facts) in hosts.iter().filter_map(Host::known) {
        if let Err(error) = fits(facts, new_bytes) {
            lacking.push(format!("{name}: {error}"));
        }
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let hint = "what Pando needs no more was removed already; free some otherwise, such as by `docker system prune` there, or make the image smaller; nothing was sent";
    Err(ErrorBody::new(ErrorCode::DoesNotFit, lacking.join("; ")).hint(hint))
}

/// The servers among them that have no room for it.
pub(crate) fn without_room(hosts: &[Host], new_bytes: u64) -> Vec<ServerName> {
    let known = hosts.iter().filter_map(Host::known);
    known.filter(|(_, facts)| fits(facts, new_bytes).is_err()).map(|(name, _)| name.clone()).collect()
}

fn fits(facts: &HostFacts, new_bytes: u64) -> Result<(), NoRoom> {
    let loading = new_bytes.saturating_mul(WHILE_LOADING);
    let at = |space: &DiskSpace, needed| {
        let disk = Disk { free: space.free_bytes, total: space.total_bytes };
        disk.check(Path::new(&space.path), needed)
    };
    match &facts.engine {
        Some(engine) => at(engine, loading).and_then(|()| at(&facts.state, new_bytes)),
        None => at(&facts.state, loading.saturating_add(new_bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    fn space(path: &str, free: u64) -> DiskSpace {
        DiskSpace { path: path.to_owned(), free_bytes: free * GB, total_bytes: 10 * GB }
    }

    fn host(name: &str, state: u64, engine: Option<u64>) -> Host {
        let facts = HostFacts {
            platform: Platform::of_machine("x86_64"),
            state: space("/var/lib/pando", state),
            engine: engine.map(|free| space("/data/docker", free)),
            trouble: None,
        };
        Host { name: ServerName::new(name).unwrap(), facts: Ok(facts) }
    }

    fn away(name: &str) -> Host {
        Host { name: ServerName::new(name).unwrap(), facts: Err("it is away".to_owned()) }
    }

    #[test]
    fn every_disk_must_hold_what_comes_to_it_and_its_reserve() {
        for (hosts, new, fits) in [
            (vec![host("web-1", 4, None)], 1, true),
            (vec![host("web-1", 3, None)], 1, false),
            (vec![host("web-1", 2, Some(3))], 1, true),
            (vec![host("web-1", 1, Some(3))], 1, false),
            (vec![host("web-1", 2, Some(2))], 1, false),
            (vec![host("web-1", 9, None), host("web-2", 1, None)], 1, false),
            (vec![host("web-1", 0, None)], 0, true),
            (vec![away("web-1")], 1000, true),
        ] {
            assert_eq!(check(&hosts, None, new * GB).is_ok(), fits, "{hosts:?}");
        }
        let disk = Disk { free: GB, total: 10 * GB };
        assert!(check(&[], Some((Path::new("/x"), disk)), GB).is_err());
    }

    #[test]
    fn the_refusal_names_each_server_and_shows_its_sum() {
        let hosts = [host("web-1", 3, None), host("web-2", 9, None), host("web-3", 9, Some(2))];
        let error = check(&hosts, None, GB).unwrap_err();
        assert_eq!(error.code, ErrorCode::DoesNotFit);
        let expected = "web-1: not enough room for the image: 3 GB needed and 1 GB kept free make 4 GB, and the disk with `/var/lib/pando` has 3 GB free; \
                        web-3: not enough room for the image: 2 GB needed and 1 GB kept free make 3 GB, and the disk with `/data/docker` has 2 GB free";
        assert_eq!(error.message, expected);
    }

    #[test]
    fn an_image_for_another_platform_is_refused_with_all_servers_that_are_others() {
        let hosts = [host("web-1", 9, None), away("web-2"), host("web-3", 9, None)];
        check_platform(&hosts, &Platform::of_machine("x86_64")).unwrap();
        let error = check_platform(&hosts, &Platform::of_machine("aarch64")).unwrap_err();
        let expected = "the image is for linux/arm64, but web-1 is linux/amd64, web-3 is linux/amd64";
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::Invalid, expected));
    }
}
