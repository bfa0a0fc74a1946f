use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};
use tempfile::TempDir;

use super::*;

type Pack = Builder<GzEncoder<Vec<u8>>>;

/// A header whose name is written as it is, which the library would refuse to do.
fn header(path: &str, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_mtime(1_600_000_000);
    header.set_size(size);
    header
}

fn file(pack: &mut Pack, path: &str, content: &[u8]) {
    let mut header = header(path, EntryType::Regular, content.len() as u64);
    header.set_cksum();
    pack.append(&header, content).unwrap();
}

fn link(pack: &mut Pack, kind: EntryType, path: &str, target: &str) {
    let mut header = header(path, kind, 0);
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    pack.append(&header, &[][..]).unwrap();
}

fn plain(pack: &mut Pack, kind: EntryType, path: &str) {
    link(pack, kind, path, "");
}

/// A directory to unpack into, with a neighbour that must stay as it is.
struct Place {
    directory: TempDir,
    limits: Limits,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("neighbour")).unwrap();
        fs::write(directory.path().join("neighbour/file"), "untouched").unwrap();
        Self { directory, limits: Limits { bytes: 1_000_000, entries: 1000 } }
    }

    fn target(&self) -> PathBuf {
        self.directory.path().join("release")
    }

    fn unpack(&self, fill: impl FnOnce(&mut Pack)) -> Result<(), UnpackError> {
        let mut pack = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        fill(&mut pack);
        self.unpack_bytes(&pack.into_inner().unwrap().finish().unwrap())
    }

    fn unpack_bytes(&self, bytes: &[u8]) -> Result<(), UnpackError> {
        let archive = self.directory.path().join("archive");
        fs::write(&archive, bytes).unwrap();
        let order = Order { archive, into: self.target(), owner: None, limits: self.limits };
        let unpacked = unpack(&order, &AtomicBool::new(false));
        self.check_neighbour();
        unpacked
    }

    fn check_neighbour(&self) {
        let mut names: Vec<_> =
            fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert!(names.iter().all(|name| ["archive", "neighbour", "release"].iter().any(|one| name == one)));
        let inside = fs::read_dir(self.directory.path().join("neighbour")).unwrap().count();
        assert_eq!(inside, 1);
        let text = fs::read_to_string(self.directory.path().join("neighbour/file")).unwrap();
        assert_eq!(text, "untouched");
    }
}

fn check_refused(fill: impl FnOnce(&mut Pack), words: &str) {
    let error = Place::new().unpack(fill).unwrap_err();
    let text = pando_rt::error_chain::error_chain(&error);
    assert!(text.contains(words), "{text}");
}

#[test]
fn what_was_packed_is_there() {
    let place = Place::new();
    let long = format!("{}/deep.txt", ["directory-with-a-name"; 10].join("/"));
    place
        .unpack(|pack| {
            plain(pack, EntryType::Directory, "bin/");
            let mut tool = header("./bin/tool", EntryType::Regular, 4);
            tool.set_mode(0o4755);
            tool.set_cksum();
            pack.append(&tool, &b"echo"[..]).unwrap();
            link(pack, EntryType::Symlink, "bin/alias", "tool");
            link(pack, EntryType::Symlink, "lib/up", "../bin/./tool");
            link(pack, EntryType::Symlink, "lib/nowhere", "later/made");
            link(pack, EntryType::Link, "second", "bin/tool");
            let mut deep = header("", EntryType::Regular, 4);
            pack.append_data(&mut deep, &long, &b"deep"[..]).unwrap();
            file(pack, "twice", b"first");
            file(pack, "twice", b"second");
        })
        .unwrap();
    let release = place.target();
    let tool = fs::metadata(release.join("bin/tool")).unwrap();
    assert_eq!((tool.permissions().mode() & 0o7777, tool.mtime()), (0o755, 1_600_000_000));
    assert_eq!(fs::read_to_string(release.join("lib/up")).unwrap(), "echo");
    assert_eq!(fs::read_link(release.join("bin/alias")).unwrap(), Path::new("tool"));
    assert_eq!(fs::metadata(release.join("second")).unwrap().ino(), tool.ino());
    assert_eq!(fs::read_to_string(release.join(long)).unwrap(), "deep");
    assert_eq!(fs::read_to_string(release.join("twice")).unwrap(), "second");
    assert_eq!(fs::metadata(&release).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_pax_name_is_a_name() {
    let place = Place::new();
    let long = "n/".repeat(100) + "file";
    place
        .unpack(|pack| {
            pack.append_pax_extensions([("path", long.as_bytes()), ("size", &b"2"[..])]).unwrap();
            file(pack, "short", b"ok");
            pack.append_pax_extensions([("linkpath", &b"short-target"[..])]).unwrap();
            link(pack, EntryType::Symlink, "link", "x");
        })
        .unwrap();
    assert_eq!(fs::read_to_string(place.target().join(&long)).unwrap(), "ok");
    assert_eq!(fs::read_link(place.target().join("link")).unwrap(), Path::new("short-target"));
}

#[test]
fn what_was_packed_belongs_to_its_owner() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    let mut pack = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    file(&mut pack, "a/b/file", b"x");
    link(&mut pack, EntryType::Symlink, "a/link", "../../outside-it-would-be");
    let bytes = pack.into_inner().unwrap().finish().unwrap();
    let archive = place.directory.path().join("archive");
    fs::write(&archive, bytes).unwrap();
    let order = Order { archive, into: place.target(), owner: Some((12345, 23456)), limits: place.limits };
    let refused = unpack(&order, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(refused, UnpackError::LeadsOut { .. }), "{refused}");
    for path in ["", "a", "a/b", "a/b/file", "a/link"] {
        let found = fs::symlink_metadata(place.target().join(path)).unwrap();
        assert_eq!((found.uid(), found.gid()), (12345, 23456), "{path}");
    }
}

#[test]
fn paths_that_lead_out_are_refused() {
    for path in ["../neighbour/file", "a/../../neighbour/x", "/etc/x", "..", "a/.."] {
        check_refused(|pack| file(pack, path, b"owned"), "would lie outside");
        check_refused(|pack| plain(pack, EntryType::Directory, path), "would lie outside");
        check_refused(|pack| link(pack, EntryType::Symlink, path, "x"), "would lie outside");
    }
    let pax = |pack: &mut Pack| {
        pack.append_pax_extensions([("path", &b"../neighbour/x"[..])]).unwrap();
        file(pack, "innocent", b"owned");
    };
    check_refused(pax, "would lie outside");
}

#[test]
fn links_that_lead_out_are_refused() {
    for (path, target) in [
        ("l", "/etc/passwd"),
        ("l", "../neighbour"),
        ("a/b/l", "../../../x"),
        ("l", "a/../../x"),
        ("l", ".."),
    ] {
        check_refused(|pack| link(pack, EntryType::Symlink, path, target), "leads out");
    }
    for (path, target) in [("l", "../neighbour/file"), ("l", "/etc/passwd")] {
        check_refused(|pack| link(pack, EntryType::Link, path, target), "would lie outside");
    }
    check_refused(|pack| link(pack, EntryType::Link, "l", "not-there"), "leads out");
    check_refused(|pack| link(pack, EntryType::Symlink, "l", ""), "leads out");
}

#[test]
fn links_that_lead_out_by_way_of_others_are_refused() {
    // Lexically `t` stays inside; by way of `s`, which leads to the top, it does not.
    let chain = |pack: &mut Pack| {
        link(pack, EntryType::Symlink, "a/b/c/s", "../../..");
        link(pack, EntryType::Symlink, "t", "a/b/c/s/../neighbour");
    };
    check_refused(chain, "leads out");
    // The same, with the second link unpacked before the first.
    let later = |pack: &mut Pack| {
        link(pack, EntryType::Symlink, "t", "a/b/c/s/../neighbour");
        link(pack, EntryType::Symlink, "a/b/c/s", "../../..");
    };
    check_refused(later, "leads out");
}

#[test]
fn nothing_is_written_through_a_link() {
    let through = |pack: &mut Pack| {
        link(pack, EntryType::Symlink, "door", "../neighbour");
        file(pack, "door/file", b"owned");
    };
    check_refused(through, "below or instead");
    let inside = |pack: &mut Pack| {
        file(pack, "real/file", b"x");
        link(pack, EntryType::Symlink, "door", "real");
        file(pack, "door/file", b"owned");
    };
    check_refused(inside, "below or instead");
    let place = Place::new();
    let replaced = place.unpack(|pack| {
        link(pack, EntryType::Symlink, "file", "../neighbour/file");
        file(pack, "file", b"mine");
    });
    // The link that led out is gone, but an archive that had it is not to be trusted.
    assert!(replaced.is_err());
    assert_eq!(fs::read_to_string(place.target().join("file")).unwrap(), "mine");
    let hard = |pack: &mut Pack| {
        link(pack, EntryType::Symlink, "door", "../neighbour");
        link(pack, EntryType::Link, "mine", "door/file");
    };
    check_refused(hard, "below or instead");
    let hard_to_link = |pack: &mut Pack| {
        link(pack, EntryType::Symlink, "door", "../neighbour/file");
        link(pack, EntryType::Link, "mine", "door");
    };
    check_refused(hard_to_link, "leads out");
}

#[test]
fn loops_of_links_end() {
    let place = Place::new();
    place
        .unpack(|pack| {
            link(pack, EntryType::Symlink, "a", "b");
            link(pack, EntryType::Symlink, "b", "a");
            link(pack, EntryType::Symlink, "self", "self");
        })
        .unwrap();
}

#[test]
fn devices_pipes_and_sparse_files_are_refused() {
    for (kind, words) in [
        (EntryType::Char, "a device"),
        (EntryType::Block, "a device"),
        (EntryType::Fifo, "a named pipe"),
        (EntryType::GNUSparse, "a sparse file"),
        (EntryType::new(b'Z'), "not known"),
    ] {
        check_refused(|pack| plain(pack, kind, "odd"), words);
    }
}

#[test]
fn bombs_are_refused_before_they_fill_the_disk() {
    let zeros = vec![0; 600_000];
    let big = |pack: &mut Pack| {
        file(pack, "one", &zeros);
        file(pack, "two", &zeros);
    };
    let place = Place::new();
    let error = place.unpack(big).unwrap_err();
    assert!(matches!(error, UnpackError::TooLarge(_)), "{error}");
    assert!(fs::metadata(place.target().join("two")).unwrap().len() <= 400_000);
    let many = |pack: &mut Pack| (0..1001).for_each(|n| file(pack, &format!("f{n}"), b""));
    check_refused(many, "more than 1000 files");
    let deep = "d/".repeat(200);
    let deep = |pack: &mut Pack| {
        pack.append_pax_extensions([("path", deep.as_bytes())]).unwrap();
        file(pack, "short", b"");
    };
    check_refused(deep, "directories deep");
    // A name that says it has a gigabyte.
    let mut name = header("././@LongLink", EntryType::GNULongName, 1 << 30);
    name.set_cksum();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(name.as_bytes()).unwrap();
    (0..200).for_each(|_| encoder.write_all(&zeros).unwrap());
    let error = Place::new().unpack_bytes(&encoder.finish().unwrap()).unwrap_err();
    assert!(pando_rt::error_chain::error_chain(&error).contains("more than 64 KiB"), "{error}");
}

#[test]
fn two_sizes_for_one_entry_are_refused() {
    let smuggled = |pack: &mut Pack| {
        pack.append_pax_extensions([("size", &b"1024"[..])]).unwrap();
        file(pack, "small", b"");
    };
    check_refused(smuggled, "two sizes");
}

#[test]
fn files_and_directories_do_not_stand_in_for_each_other() {
    let file_below_file = |pack: &mut Pack| {
        file(pack, "a", b"");
        file(pack, "a/b", b"");
    };
    check_refused(file_below_file, "below or instead");
    let file_over_directory = |pack: &mut Pack| {
        plain(pack, EntryType::Directory, "a");
        file(pack, "a", b"");
    };
    check_refused(file_over_directory, "below or instead");
}

#[test]
fn damaged_archives_are_refused() {
    let mut pack = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let noise: Vec<u8> =
        (0..200_000u32).map(|n| u8::try_from(n.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    file(&mut pack, "a", &noise);
    let whole = pack.into_inner().unwrap().finish().unwrap();
    for bad in [&b"not gzip at all"[..], &whole[..whole.len() / 2]] {
        let error = Place::new().unpack_bytes(bad).unwrap_err();
        assert!(matches!(error, UnpackError::Damaged(_)), "{error}");
    }
}

#[test]
fn a_cancelled_unpacking_ends() {
    let place = Place::new();
    let mut pack = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    file(&mut pack, "a", b"x");
    fs::write(place.directory.path().join("archive"), pack.into_inner().unwrap().finish().unwrap()).unwrap();
    let archive = place.directory.path().join("archive");
    let order = Order { archive, into: place.target(), owner: None, limits: place.limits };
    assert!(matches!(unpack(&order, &AtomicBool::new(true)), Err(UnpackError::Cancelled)));
}
