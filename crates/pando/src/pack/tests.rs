use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use flate2::read::GzDecoder;
use tempfile::TempDir;

use super::*;

/// A directory outside of any git repository.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::Builder::new().prefix("pando-pack-").tempdir().unwrap();
    for (path, text) in files {
        write(dir.path(), path, text);
    }
    dir
}

fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn pack_all(dir: &Path, limits: Limits) -> Result<Packed, PackError> {
    pack(dir, limits, &AtomicBool::new(false))
}

fn packed(dir: &Path) -> Packed {
    pack_all(dir, Limits::default()).unwrap()
}

/// Path → (mode, content); a link's content is where it leads.
fn content(packed: &Packed) -> BTreeMap<String, (u32, String)> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(packed.path()).unwrap()));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
        let mode = header.mode().unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        match entry.link_name().unwrap() {
            Some(target) => text = format!("-> {}", target.display()),
            None => drop(entry.read_to_string(&mut text).unwrap()),
        }
        files.insert(path, (mode, text));
    }
    files
}

fn names(dir: &Path) -> Vec<String> {
    let all = content(&packed(dir)).into_keys();
    all.filter(|name| !name.ends_with('/') && !dir.join(name).is_dir()).collect()
}

#[test]
fn what_git_ignores_and_what_is_never_part_of_a_release_is_left_out() {
    let dir = directory(&[
        (".gitignore", "*.log\n/tmp/\n"),
        ("app.rb", "x"),
        ("debug.log", "x"),
        ("tmp/cache", "x"),
        ("lib/tmp/kept", "x"),
        ("lib/.gitignore", "secret\n"),
        ("lib/secret", "x"),
        (".git/config", "x"),
        (".pando/context.json", "x"),
        ("lib/.pando/x", "x"),
        (".env.example", "x"),
    ]);
    assert_eq!(names(dir.path()), [".env.example", ".gitignore", "app.rb", "lib/.gitignore", "lib/tmp/kept"]);
}

#[test]
fn pandoignore_has_the_last_word() {
    let dir = directory(&[
        (".gitignore", "bin/\n*.bin\n"),
        (".pandoignore", "!bin/\n!bin/hits\nnotes/\n*.db\n"),
        ("bin/hits", "x"),
        ("bin/other.bin", "x"),
        ("notes/a", "x"),
        ("hits.db", "x"),
        ("a", "x"),
    ]);
    assert_eq!(names(dir.path()), [".gitignore", ".pandoignore", "a", "bin/hits"]);
}

#[test]
fn rules_above_count_within_a_repository_and_not_beyond() {
    let dir = directory(&[
        (".gitignore", "*\n"),
        ("repo/.gitignore", "/app/built\n"),
        ("repo/app/a", "x"),
        ("repo/app/built", "x"),
    ]);
    let app = dir.path().join("repo/app");
    assert_eq!(names(&app), ["a", "built"], "no repository: rules above are somebody else's");
    fs::create_dir(dir.path().join("repo/.git")).unwrap();
    assert_eq!(names(&app), ["a"]);
}

#[test]
fn the_same_files_are_packed_to_the_same_bytes() {
    let files = [("b", "2"), ("a/x", "1"), ("a-b", "3"), ("a.b", "4")];
    let one = directory(&files);
    let mut backwards = files;
    backwards.reverse();
    let other = directory(&backwards);
    fs::set_permissions(one.path().join("b"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(other.path().join("b"), fs::Permissions::from_mode(0o664)).unwrap();
    let (one, other) = (packed(one.path()), packed(other.path()));
    assert_eq!(one.digest, other.digest);
    assert_eq!(fs::read(one.path()).unwrap(), fs::read(other.path()).unwrap());
    assert_eq!(one.bytes, fs::metadata(one.path()).unwrap().len());
    assert_eq!(hex::encode(Sha256::digest(fs::read(one.path()).unwrap())), one.digest.as_str());
    assert_eq!(one.files, 4);
}

#[test]
fn modes_are_kept_as_far_as_they_say_whether_it_runs() {
    let dir = directory(&[("run", "x"), ("data", "x")]);
    fs::create_dir(dir.path().join("empty")).unwrap();
    fs::set_permissions(dir.path().join("run"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::set_permissions(dir.path().join("data"), fs::Permissions::from_mode(0o600)).unwrap();
    let content = content(&packed(dir.path()));
    assert_eq!((content["run"].0, content["data"].0), (0o755, 0o644));
    assert!(content.keys().any(|name| name.starts_with("empty")), "{content:?}");
}

#[test]
fn links_inside_stay_links() {
    let dir = directory(&[("v1/app", "x")]);
    symlink("v1", dir.path().join("current")).unwrap();
    symlink("../v1/app", dir.path().join("v1/self")).unwrap();
    symlink("later", dir.path().join("dangling")).unwrap();
    let content = content(&packed(dir.path()));
    assert_eq!(content["current"].1, "-> v1");
    assert_eq!(content["v1/self"].1, "-> ../v1/app");
    assert_eq!(content["dangling"].1, "-> later");
    assert!(!content.contains_key("current/app"), "links are not followed");
}

#[test]
fn links_that_lead_out_are_an_error_that_names_them() {
    let dir = directory(&[("a", "x"), ("deep/er/a", "x")]);
    symlink("/etc/hostname", dir.path().join("host")).unwrap();
    symlink("../..", dir.path().join("deep/up")).unwrap();
    // Inside by its words, outside through the other link.
    symlink("..", dir.path().join("deep/er/back")).unwrap();
    symlink("er/back/../../..", dir.path().join("deep/out")).unwrap();
    let error = pack_all(dir.path(), Limits::default()).unwrap_err();
    let PackError::Escapes(escapes) = &error else { panic!("{error}") };
    let mut links: Vec<String> = escapes.iter().map(|escape| escape.link.display().to_string()).collect();
    links.sort();
    assert_eq!(links, ["deep/out", "deep/up", "host"]);
    assert!(error.to_string().contains("`host` leads to `/etc/hostname`"), "{error}");
    write(dir.path(), ".pandoignore", "host\ndeep/up\ndeep/out\n");
    packed(dir.path());
}

#[test]
fn a_socket_is_left_out_and_said() {
    let dir = directory(&[("a", "x")]);
    let _socket = UnixListener::bind(dir.path().join("app.sock")).unwrap();
    let packed = packed(dir.path());
    assert_eq!(packed.notes, ["`app.sock` is a socket, which a release can't hold; it is left out"]);
    assert_eq!(content(&packed).into_keys().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn too_much_and_nothing_are_refused() {
    let dir = directory(&[("a", "x"), ("b", "x")]);
    let few = Limits { files: 1, ..Limits::default() };
    assert!(matches!(pack_all(dir.path(), few), Err(PackError::TooMany(1))));
    // Noise, which does not get smaller.
    let mut entropy = pando_model::id::Entropy::from_seed(1);
    let noise: Vec<u8> = (0..25_000).flat_map(|_| entropy.next_u64().to_le_bytes()).collect();
    fs::write(dir.path().join("noise"), noise).unwrap();
    let small = Limits { packed: 10_000, ..Limits::default() };
    assert!(matches!(pack_all(dir.path(), small), Err(PackError::TooLarge(10_000))));
    write(dir.path(), ".gitignore", "*\n");
    let error = pack_all(dir.path(), Limits::default()).unwrap_err();
    assert!(matches!(error, PackError::Empty(_)) && error.hint().contains(".pandoignore"), "{error}");
}

#[test]
fn a_missing_directory_is_said() {
    let error = pack_all(Path::new("/nowhere/at/all"), Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "can't read `/nowhere/at/all`");
}

#[test]
fn long_paths_survive() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(150));
    let dir = directory(&[(long.as_str(), "x")]);
    assert!(content(&packed(dir.path())).contains_key(&long));
}

#[test]
fn packing_stops_when_it_is_told_to() {
    let dir = directory(&[("a", "x")]);
    let stopped = pack(dir.path(), Limits::default(), &AtomicBool::new(true));
    assert!(matches!(stopped, Err(PackError::Stopped)));
}
