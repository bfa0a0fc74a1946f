use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};

use pando_model::release::ReleaseNumber;
use tempfile::TempDir;

use super::*;
use crate::artifacts::disk;

/// An app's releases, as plain processes or as images.
struct Bench {
    _directory: TempDir,
    places: Places,
}

fn path(text: &str) -> AssetPath {
    AssetPath::new(text).unwrap()
}

fn key(number: u64) -> ReleaseKey {
    ("shop".parse().unwrap(), ReleaseNumber(number))
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let places = Places::new(directory.path().join("releases"));
        disk::scan(&places).unwrap();
        Self { _directory: directory, places }
    }

    /// A directory with these assets, unpacked and not yet sealed.
    fn unpack(&self, number: u64, files: &[(&str, &str)]) {
        let assets = self.places.staging(&key(number)).join("public/assets");
        fs::create_dir_all(&assets).unwrap();
        for (name, content) in files {
            let file = assets.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
    }

    /// The same, ready.
    fn directory(&self, number: u64, files: &[(&str, &str)]) {
        self.unpack(number, files);
        of_directory(&self.places, &key(number), &path("public/assets")).unwrap();
        fs::rename(self.places.staging(&key(number)), self.places.directory(&key(number))).unwrap();
    }

    /// Of an image, by what the engine gives.
    fn image(&self, number: u64, fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Result<(), ArtifactError> {
        self.image_at(number, "/app/assets", fill)
    }

    fn image_at(
        &self,
        number: u64,
        at: &str,
        fill: impl FnOnce(&mut tar::Builder<Vec<u8>>),
    ) -> Result<(), ArtifactError> {
        let note = Note { path: path(at), image: Some(format!("sha256:{number}")) };
        let Some(file) = image::begin(&self.places, &key(number), &note)? else { return Ok(()) };
        let mut tar = tar::Builder::new(Vec::new());
        fill(&mut tar);
        fs::write(&file, tar.into_inner().unwrap()).unwrap();
        image::finish(&self.places, &key(number), &note, &file)
    }

    fn shown(&self, number: u64) -> PathBuf {
        let all = self.places.assets(&key(number)).join("all");
        if all.is_dir() { all } else { self.places.directory(&key(number)).join("public/assets") }
    }

    /// What its replicas serve.
    fn serves(&self, number: u64) -> BTreeMap<String, String> {
        let shown = Dir::open(&self.shown(number)).unwrap();
        let names = tree::list_any(&shown).unwrap().into_iter();
        names
            .map(|name| {
                let content = fs::read_to_string(self.shown(number).join(&name)).unwrap_or_default();
                (name.display().to_string(), content)
            })
            .collect()
    }

    #[track_caller]
    fn check(&self, number: u64, files: &[(&str, &str)]) {
        let expected =
            files.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect();
        assert_eq!(self.serves(number), expected, "v{number}");
    }

    fn remove(&self, number: u64) {
        disk::remove(&self.places, &key(number)).unwrap();
    }
}

fn file(tar: &mut tar::Builder<Vec<u8>>, name: &str, content: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o600);
    header.set_mtime(1_600_000_000);
    tar.append_data(&mut header, name, content.as_bytes()).unwrap();
}

fn link(tar: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, name: &str, target: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o777);
    header.set_mtime(1_600_000_000);
    tar.append_link(&mut header, name, target).unwrap();
}

#[test]
fn each_release_serves_the_files_of_the_others_and_keeps_its_own() {
    let bench = Bench::new();
    bench.directory(1, &[("app-1.css", "one"), ("manifest", "of v1"), ("deep/er/a-1.js", "1")]);
    bench.directory(2, &[("app-2.css", "two"), ("manifest", "of v2")]);
    bench.check(
        1,
        &[("app-1.css", "one"), ("app-2.css", "two"), ("manifest", "of v1"), ("deep/er/a-1.js", "1")],
    );
    bench.check(
        2,
        &[("app-1.css", "one"), ("app-2.css", "two"), ("manifest", "of v2"), ("deep/er/a-1.js", "1")],
    );
    // What an app writes into a file is its own affair.
    let of = |number| fs::metadata(bench.shown(number).join("app-1.css")).unwrap();
    assert_ne!(of(1).ino(), of(2).ino());
    assert_eq!(of(1).mtime(), of(2).mtime());
}

#[test]
fn files_of_a_release_that_went_stay_until_the_next_one_comes() {
    let bench = Bench::new();
    bench.directory(1, &[("app-1.css", "one"), ("logo.png", "logo")]);
    bench.directory(2, &[("app-2.css", "two"), ("logo.png", "logo")]);
    fs::write(bench.shown(2).join("uploaded"), "by the app").unwrap();
    bench.remove(1);
    let before: &[_] =
        &[("app-1.css", "one"), ("app-2.css", "two"), ("logo.png", "logo"), ("uploaded", "by the app")];
    bench.check(2, before);
    bench.directory(3, &[("app-3.css", "three")]);
    let after: &[_] =
        &[("app-3.css", "three"), ("app-2.css", "two"), ("logo.png", "logo"), ("uploaded", "by the app")];
    bench.check(2, after);
    bench.check(3, &[("app-3.css", "three"), ("app-2.css", "two"), ("logo.png", "logo")]);
    bench.remove(2);
    bench.remove(3);
    assert!(!bench.places.app(&key(3)).exists(), "nothing is left of the app");
}

#[test]
fn a_release_that_went_and_came_back_is_as_before() {
    let bench = Bench::new();
    bench.directory(1, &[("app-1.css", "one")]);
    bench.directory(2, &[("app-2.css", "two")]);
    bench.remove(1);
    bench.directory(1, &[("app-1.css", "one")]);
    for number in [1, 2] {
        bench.check(number, &[("app-1.css", "one"), ("app-2.css", "two")]);
    }
}

#[test]
fn what_an_image_has_is_mounted_with_the_files_of_the_others() {
    let bench = Bench::new();
    bench
        .image(1, |tar| {
            file(tar, "./app-1.css", "one");
            link(tar, tar::EntryType::Symlink, "./latest.css", "app-1.css");
            link(tar, tar::EntryType::Link, "./same.css", "./app-1.css");
        })
        .unwrap();
    bench.image(2, |tar| file(tar, "./sub/app-2.css", "two")).unwrap();
    let all: &[_] =
        &[("app-1.css", "one"), ("latest.css", "one"), ("same.css", "one"), ("sub/app-2.css", "two")];
    bench.check(1, all);
    bench.check(2, all);
    let shown = fs::metadata(bench.shown(2).join("app-1.css")).unwrap();
    assert_eq!((shown.mode() & 0o777, shown.mtime()), (0o644, 1_600_000_000), "anybody may read it");
    assert!(shown.nlink() > 3, "it lies on the disk once");
    // The daemon is started again: nothing changes under replicas that run.
    let before = fs::metadata(bench.shown(1)).unwrap().ino();
    bench.image(1, |_| panic!("it is there")).unwrap();
    assert_eq!(fs::metadata(bench.shown(1)).unwrap().ino(), before);
    // From images to a directory, and back.
    bench.directory(3, &[("app-3.css", "three")]);
    bench.check(3, &[all, &[("app-3.css", "three")]].concat());
    bench.check(1, &[all, &[("app-3.css", "three")]].concat());
}

#[test]
fn what_lies_in_a_directory_of_another_name_is_not_shared() {
    let bench = Bench::new();
    bench.image(1, |tar| file(tar, "./app-1.css", "one")).unwrap();
    bench.image_at(2, "/app", |tar| file(tar, "./config", "a password")).unwrap();
    bench.image(3, |tar| file(tar, "./app-3.css", "three")).unwrap();
    bench.check(1, &[("app-1.css", "one"), ("app-3.css", "three")]);
    bench.check(2, &[("config", "a password")]);
    bench.check(3, &[("app-1.css", "one"), ("app-3.css", "three")]);
    bench.remove(2);
    bench.image(4, |tar| file(tar, "./app-4.css", "four")).unwrap();
    bench.check(1, &[("app-1.css", "one"), ("app-3.css", "three"), ("app-4.css", "four")]);
}

#[test]
fn what_a_crash_left_is_begun_anew() {
    let bench = Bench::new();
    bench.directory(1, &[("app-1.css", "one")]);
    let home = Home::of(&bench.places, &key(2));
    bench.unpack(2, &[("app-2.css", "two")]);
    home.clear().unwrap();
    fs::create_dir(home.files()).unwrap();
    fs::write(home.files().join("half"), "of it").unwrap();
    of_directory(&bench.places, &key(2), &path("public/assets")).unwrap();
    fs::rename(bench.places.staging(&key(2)), bench.places.directory(&key(2))).unwrap();
    bench.check(2, &[("app-1.css", "one"), ("app-2.css", "two")]);
    // Another's file that was on its way is none of a release's own.
    fs::write(bench.shown(1).join(".pando-asset"), "half").unwrap();
    bench.directory(3, &[("app-3.css", "three")]);
    bench.check(1, &[("app-1.css", "one"), ("app-2.css", "two"), ("app-3.css", "three")]);
}

/// An app may do to its directory what it likes, also while files are put there.
#[test]
fn links_in_an_app_s_directory_lead_nowhere() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "nobody's").unwrap();
    bench.directory(1, &[("sub/app-1.css", "one")]);
    fs::remove_dir_all(bench.shown(1).join("sub")).unwrap();
    symlink(outside.path(), bench.shown(1).join("sub")).unwrap();
    bench.unpack(2, &[("sub/app-2.css", "two")]);
    let assets = bench.places.staging(&key(2)).join("public/assets");
    symlink(outside.path(), assets.join("out")).unwrap();
    of_directory(&bench.places, &key(2), &path("public/assets")).unwrap();
    let names: Vec<_> =
        fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"]);
    // The directory itself is one.
    bench.unpack(3, &[]);
    fs::remove_dir(bench.places.staging(&key(3)).join("public/assets")).unwrap();
    symlink(outside.path(), bench.places.staging(&key(3)).join("public/assets")).unwrap();
    let refused = of_directory(&bench.places, &key(3), &path("public/assets")).unwrap_err();
    assert!(refused.to_string().contains("there is no directory `public/assets`"), "{refused}");
}

#[test]
fn an_archive_of_an_image_writes_nowhere_else() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    let to = outside.path().display().to_string();
    let refused = bench.image(1, |tar| {
        link(tar, tar::EntryType::Symlink, "./out", &to);
        file(tar, "./out/file", "nobody's");
    });
    assert!(refused.is_err());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn an_asset_that_can_not_be_kept_is_named_as_what_it_is() {
    let bench = Bench::new();
    let refused = bench.image(1, |tar| {
        link(tar, tar::EntryType::Symlink, "./first.css", "app-1.css");
        link(tar, tar::EntryType::Link, "./second.css", "./first.css");
    });
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("`second.css` is a hard link to `first.css`, which is no file"), "{said}");
    assert!(said.contains("make it a file of its own") && !said.contains("packed release"), "{said}");
}

#[test]
fn what_is_too_much_is_refused_with_what_to_do() {
    let bench = Bench::new();
    bench.unpack(1, &[("a", "12345"), ("b", "12345")]);
    let assets = Dir::open(&bench.places.staging(&key(1)).join("public/assets")).unwrap();
    let listed = |bytes, files| tree::list(&assets, &path("public/assets"), Limits { bytes, files });
    assert_eq!(listed(10, 2).unwrap().len(), 2);
    let many = listed(10, 1).unwrap_err().to_string();
    assert!(many.contains("`public/assets` holds more than 1 files; name the directory"), "{many}");
    let large = listed(9, 2).unwrap_err().to_string();
    assert!(large.contains("`public/assets` holds more than 9 B"), "{large}");
    bench.unpack(2, &[(format!("{}f", "d/".repeat(70)).as_str(), "")]);
    let deep = of_directory(&bench.places, &key(2), &path("public/assets")).unwrap_err().to_string();
    assert!(deep.contains("too deep"), "{deep}");
}

#[test]
fn an_app_that_removed_its_directory_hinders_nobody() {
    let bench = Bench::new();
    bench.directory(1, &[("app-1.css", "one")]);
    fs::remove_dir_all(bench.shown(1)).unwrap();
    bench.directory(2, &[("app-2.css", "two")]);
    bench.check(2, &[("app-1.css", "one"), ("app-2.css", "two")]);
    assert!(!bench.shown(1).exists());
}
