//! The image that is sent around: the app, some hundred and eighty megabytes of this machine's libraries, and a file of one line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::image::{Own, build, run};

const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";
const BYTES: u64 = 180_000_000;
const SAVES: usize = 3;

pub(crate) struct Subject {
    first: Own,
    changed: Own,
    /// Of the changed one, as the engine tells it.
    pub(crate) bytes: u64,
    /// The fastest `docker save` of it to nowhere.
    pub(crate) save: Duration,
}

impl Subject {
    pub(crate) fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let system = directory.path().join("system");
        fs::create_dir(&system).unwrap();
        gather(&system);
        let of = |name: &str, line: &str| {
            fs::write(directory.path().join("line"), line).unwrap();
            build(name, directory.path(), &["COPY system /system", "COPY line /line"])
        };
        let (first, changed) = (of("first", "one\n"), of("changed", "two\n"));
        let told =
            run(Command::new("docker").args(["image", "inspect", "--format", "{{.Size}}", changed.name()]));
        let bytes = String::from_utf8(told.stdout).unwrap().trim().parse().unwrap();
        let save = (0..SAVES).map(|_| save_to_nowhere(changed.name())).min().unwrap();
        Self { first, changed, bytes, save }
    }

    pub(crate) fn first(&self) -> &str {
        self.first.name()
    }

    pub(crate) fn changed(&self) -> &str {
        self.changed.name()
    }
}

/// Plain files, in the order of their names, as many as there is room for.
fn gather(into: &Path) {
    let mut files: Vec<PathBuf> =
        fs::read_dir(LIBRARIES).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut bytes = 0;
    for file in files {
        let Ok(about) = fs::symlink_metadata(&file) else { continue };
        if about.is_file() && bytes + about.len() <= BYTES {
            bytes += about.len();
            fs::copy(&file, into.join(file.file_name().unwrap())).unwrap();
        }
    }
    assert!(bytes > BYTES / 2, "{LIBRARIES} has only {bytes} bytes");
}

fn save_to_nowhere(name: &str) -> Duration {
    let start = Instant::now();
    let saved = Command::new("docker").args(["save", name]).stdout(Stdio::null()).status().unwrap();
    assert!(saved.success());
    start.elapsed()
}
