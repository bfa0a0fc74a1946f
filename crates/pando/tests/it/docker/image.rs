//! The `hits` example as an image, made of the program, what it is linked with, and a shell from `busybox`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use crate::answer::told;
use crate::e2e::bed::hits_binary;

/// The name of the image; it is another whenever the program is.
pub(crate) fn hits() -> String {
    static MADE: OnceLock<String> = OnceLock::new();
    MADE.get_or_init(make).clone()
}

fn make() -> String {
    let program = hits_binary();
    let changed = fs::metadata(&program).unwrap().modified().unwrap();
    let stamp = changed.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let name = format!("pando-test/hits:{stamp}");
    if run(Command::new("docker").args(["image", "inspect", &name])).status.success() {
        return name;
    }
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("bin")).unwrap();
    fs::create_dir_all(root.path().join("tmp")).unwrap();
    copy(&program, root.path(), "bin/hits");
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|path| path.exists());
    copy(busybox.expect("busybox, which `script/test` installs"), root.path(), "bin/busybox");
    for tool in ["sh", "echo", "cat", "env", "sleep", "stty"] {
        std::os::unix::fs::symlink("busybox", root.path().join("bin").join(tool)).unwrap();
    }
    for library in libraries(&program) {
        copy(Path::new(&library), root.path(), library.trim_start_matches('/'));
    }
    let tar = root.path().with_extension("tar");
    must(Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&tar).arg("."));
    let mut import = Command::new("docker");
    import.args(["import", "--change", "CMD [\"/bin/hits\"]", "--change", "WORKDIR /tmp"]);
    import.args(["--change", "ENV PATH=/bin", "--change", "HEALTHCHECK CMD echo checked >> /tmp/checked"]);
    must(import.arg(&tar).arg(&name));
    fs::remove_file(tar).unwrap();
    forget_old(stamp);
    name
}

/// Of programs that were built a day or more before that one: others may run the tests of theirs just now.
fn forget_old(stamp: u128) {
    const DAY: u128 = 24 * 3600 * 1000;
    let tags = listed(&["images", "--format", "{{.Tag}}", "pando-test/hits"]);
    let is_old = |tag: &String| tag.parse::<u128>().is_ok_and(|of| of + DAY < stamp);
    let old: Vec<String> =
        tags.into_iter().filter(is_old).map(|tag| format!("pando-test/hits:{tag}")).collect();
    remove(&["rmi"], &old);
}

fn copy(from: &Path, root: &Path, to: &str) {
    let to = root.join(to);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

/// The paths that `ldd` names, the loader's among them.
fn libraries(program: &Path) -> Vec<String> {
    let listed = run(Command::new("ldd").arg(program));
    let text = String::from_utf8(listed.stdout).unwrap();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}

pub(crate) fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn must(command: &mut Command) {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", told(&output));
}

/// What a cluster of `pando dev` leaves in the machine's engine; removed when this is dropped.
pub(crate) struct Left {
    owner: String,
    mark: String,
}

impl Left {
    /// Of the cluster in that directory.
    pub(crate) fn by(directory: &Path) -> Self {
        let owner = fs::read_to_string(directory.join(".pando/containers/owner")).unwrap_or_default();
        Self { owner, mark: mark(directory) }
    }

    fn images(&self) -> Vec<String> {
        // Names of releases end with what the owner ends with.
        let end = self.owner.get(self.owner.len().saturating_sub(8)..).unwrap_or_default();
        let mut images = Vec::new();
        if !end.is_empty() {
            let format = "{{.Repository}}:{{.Tag}}";
            images = listed(&["images", "--format", format, "--filter", "reference=pando/*"]);
            images.retain(|name| name.ends_with(&format!("-{end}")));
        }
        images.extend(listed(&["images", "--all", "--quiet", "--filter", &format!("label={}", self.mark)]));
        images
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        let mut labels = vec![self.mark.clone()];
        labels.extend((!self.owner.is_empty()).then(|| format!("pando.owner={}", self.owner)));
        for label in labels {
            let containers = listed(&["ps", "--all", "--quiet", "--filter", &format!("label={label}")]);
            remove(&["rm", "--force", "--volumes"], &containers);
        }
        remove(&["rmi", "--force"], &self.images());
    }
}

/// The line of a Dockerfile by which what is built in that directory is found again, failed steps and all.
pub(crate) fn marked(directory: &Path) -> String {
    format!("LABEL {}", mark(directory))
}

fn mark(directory: &Path) -> String {
    format!("pando-test={}", directory.file_name().unwrap_or_default().to_string_lossy())
}

fn listed(args: &[&str]) -> Vec<String> {
    let output = run(Command::new("docker").args(args));
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines.dedup();
    lines
}

/// One that is gone already is gone.
fn remove(words: &[&str], what: &[String]) {
    if !what.is_empty() {
        run(Command::new("docker").args(words).args(what));
    }
}

/// An image of the machine's engine that goes with its test.
pub(crate) struct Own(String);

impl Own {
    fn named(name: &str) -> Self {
        Self(format!("pando-test/{name}:{}", std::process::id()))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        run(Command::new("docker").args(["image", "rm", &self.0]));
    }
}

/// The app, with so many megabytes upon it that can't be packed to less.
pub(crate) fn with_noise(name: &str, megabytes: u32) -> Own {
    let directory = tempfile::tempdir().unwrap();
    let noise = format!("head -c {megabytes}000000 /dev/urandom > noise");
    must(Command::new("sh").args(["-c", &noise]).current_dir(directory.path()));
    build(name, directory.path(), &["COPY noise /noise"])
}

/// The app with more lines of a Dockerfile.
pub(crate) fn built(name: &str, lines: &[&str]) -> Own {
    build(name, tempfile::tempdir().unwrap().path(), lines)
}

/// The same, with what lies in that directory.
pub(crate) fn build(name: &str, directory: &Path, lines: &[&str]) -> Own {
    fs::write(directory.join("Dockerfile"), format!("FROM {}\n{}\n", hits(), lines.join("\n"))).unwrap();
    let own = Own::named(name);
    must(Command::new("docker").args(["build", "--quiet", "--tag", own.name(), "."]).current_dir(directory));
    own
}

/// The app, as an image that says of itself that it is for another processor.
pub(crate) fn for_another_processor(name: &str) -> Own {
    let own = built(name, &["LABEL processor=another"]);
    let directory = tempfile::tempdir().unwrap();
    let line = format!(
        "docker save {0} | tar -x && sed -i 's/\"architecture\":\"amd64\"/\"architecture\":\"arm64\"/' $(ls *.json | grep -v manifest) && \
         docker rmi {0} && tar -c . | docker load",
        own.name()
    );
    must(Command::new("bash").args(["-o", "pipefail", "-c", &line]).current_dir(directory.path()));
    own
}
