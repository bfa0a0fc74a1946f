//! Images that servers pull: a real registry that asks who comes, its bad days, and what a pull leaves behind.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::image::{self, run};
use crate::answer::told;
use crate::e2e::bed::{Bed, Settings, kill};
use crate::e2e::load::Load;

const USER: &str = "bot";
const PASSWORD: &str = "pando-test-password-1";
/// Of that password, by bcrypt.
const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuTzE68UEDLUVN8OkfTFO.XDasatAOcgK";

/// Debian's `docker-registry` on the loopback, which engines trust without TLS.
struct Registry {
    dir: tempfile::TempDir,
    port: u16,
    server: Option<Child>,
}

impl Registry {
    fn up() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(dir.path().join("htpasswd"), format!("{USER}:{HASH}\n")).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\"}}\nauth: {{htpasswd: {{realm: test, path: {}}}}}\n",
            path("storage"),
            path("htpasswd"),
        );
        fs::write(dir.path().join("config.yml"), config).unwrap();
        let mut registry = Self { dir, port, server: None };
        registry.start();
        registry
    }

    fn start(&mut self) {
        let mut serve = Command::new("docker-registry");
        serve.arg("serve").arg(self.dir.path().join("config.yml"));
        let server = serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.server = Some(server.expect("docker-registry, which `script/test` installs"));
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "the registry does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// Puts an image there that answers `note` with this; nothing of it stays in the engine.
    fn push(&self, name: &str, note: &str) {
        self.push_with(name, &format!("ENV NOTE={note}"));
    }

    /// The same with a line of a Dockerfile.
    fn push_with(&self, name: &str, line: &str) {
        let reference = self.reference(name);
        let login = ["login", "--username", USER, "--password-stdin", &self.host()];
        self.docker(&login, PASSWORD);
        let file = format!("FROM {}\n{line}\n", image::hits());
        self.docker(&["build", "--quiet", "--tag", &reference, "-"], &file);
        self.docker(&["push", "--quiet", &reference], "");
        self.docker(&["image", "rm", &reference], "");
    }

    /// With logins of its own.
    fn docker(&self, args: &[&str], input: &str) {
        let mut docker = Command::new("docker");
        docker.env("DOCKER_BUILDKIT", "0").arg("--config").arg(self.dir.path().join("docker")).args(args);
        let output = fed(&mut docker, input);
        assert!(output.status.success(), "{docker:?}: {}", told(&output));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

fn fed(command: &mut Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have ended without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn engine_has(name: &str) -> bool {
    run(Command::new("docker").args(["image", "inspect", name])).status.success()
}

/// A cluster that runs the image as it is in the engine, before anything is pulled.
fn running() -> Bed {
    Bed::up(Settings { image: Some(image::hits()), ..Settings::default() })
}

/// From now on the file names that image, to be pulled like that.
fn wants(bed: &mut Bed, reference: &str, policy: &str) {
    bed.change(|settings| settings.image = Some(reference.to_owned()));
    let path = bed.path("pando.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("pull_policy: if_missing", &format!("pull_policy: {policy}"))).unwrap();
}

fn deploys(bed: &Bed) {
    let deployed = bed.pando(&["deploy"]);
    assert!(deployed.status.success(), "{}\n{}", told(&deployed), bed.daemon_log());
}

/// What is deployed does not come up, the message has all the words, and what was there serves.
fn goes_back(bed: &Bed, words: &[&str]) {
    let good = bed.release();
    let failed = bed.pando(&["deploy"]);
    let said = told(&failed);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}\n{}", bed.daemon_log());
    }
    assert!(!said.contains(PASSWORD), "{said}");
    bed.wait_until_settled(3);
    assert_eq!(bed.release(), good);
}

fn login(bed: &Bed, registry: &Registry, password: &str) {
    let mut login = bed.command(&["registry", "login", &registry.host(), "--username", USER]);
    let output = fed(&mut login, &format!("{password}\n"));
    assert!(output.status.success() && !told(&output).contains(password), "{}", told(&output));
}

fn note(bed: &Bed) -> String {
    bed.ok(&["exec", "web-1", "--", "echo $NOTE"]).trim().to_owned()
}

/// Every file below that has the text in it.
fn files_with(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files_with(&entry.path(), text));
        } else if kind.is_file()
            && let Ok(bytes) = fs::read(entry.path())
            && bytes.windows(text.len()).any(|part| part == text.as_bytes())
        {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[test]
fn a_private_image_is_pulled_with_the_clusters_credentials_which_nobody_is_shown() {
    let registry = Registry::up();
    registry.push("shop:1", "one");
    let reference = registry.reference("shop:1");
    let mut bed = running();
    let load = Load::start(&bed.address(), 2);
    wants(&mut bed, &reference, "always");
    let host = registry.host();
    goes_back(&bed, &["wants to know who asks", &format!("pando registry login {host}")]);
    login(&bed, &registry, "not-the-password");
    goes_back(&bed, &["refuses the user `bot`", &format!("pando registry login {host}")]);
    login(&bed, &registry, PASSWORD);
    deploys(&bed);
    assert_eq!(note(&bed), "one");
    assert!(!engine_has(&reference), "the name that the pull left is gone");
    let listed = bed.ok(&["registry", "ls"]);
    assert!(listed.contains(&host) && listed.contains(USER), "{listed}");
    for args in [["registry", "ls"], ["events", "--json"], ["status", "--json"], ["releases", "--json"]] {
        assert!(!bed.ok(&args).contains(PASSWORD), "{args:?}");
    }
    assert_eq!(files_with(&bed.path(".pando"), PASSWORD), Vec::<String>::new());
    // Without them, what is kept is kept, and what is new is not to be had.
    bed.ok(&["registry", "logout", &host]);
    wants(&mut bed, &reference, "always");
    goes_back(&bed, &["wants to know who asks"]);
    let requests = load.stop_flawless();
    println!("private pulls, refused twice, then let in: {requests} requests, 0 failed");
}

#[test]
fn a_registrys_bad_days_leave_the_old_release_serving() {
    let mut registry = Registry::up();
    registry.push("shop:1", "one");
    let mut bed = running();
    login(&bed, &registry, PASSWORD);
    wants(&mut bed, &registry.reference("shop:1"), "always");
    deploys(&bed);
    let load = Load::start(&bed.address(), 2);
    wants(&mut bed, &registry.reference("shop:no-such"), "always");
    goes_back(&bed, &["shop:no-such", "has no such image or tag"]);
    registry.stop();
    wants(&mut bed, &registry.reference("shop:1"), "always");
    goes_back(&bed, &["can't be reached from this server", &registry.host()]);
    // Neither what is kept nor what is missing and here needs it.
    wants(&mut bed, &registry.reference("shop:1"), "if_missing");
    deploys(&bed);
    bed.ok(&["rollback"]);
    bed.wait_until_settled(3);
    assert_eq!(note(&bed), "one");
    registry.start();
    wants(&mut bed, &registry.reference("shop:1"), "always");
    deploys(&bed);
    let requests = load.stop_flawless();
    println!("no such tag, registry away, back again: {requests} requests, 0 failed");
}

#[test]
fn each_pull_policy_keeps_its_promise() {
    let registry = Registry::up();
    registry.push("shop:latest", "one");
    let reference = registry.reference("shop:latest");
    let mut bed = running();
    login(&bed, &registry, PASSWORD);
    wants(&mut bed, &reference, "never");
    goes_back(&bed, &["pull_policy: never", &reference]);
    wants(&mut bed, &reference, "if_missing");
    deploys(&bed);
    assert_eq!(note(&bed), "one");
    registry.push("shop:latest", "two");
    // A kept release was made of that name: nothing is missing.
    wants(&mut bed, &reference, "if_missing");
    deploys(&bed);
    assert_eq!(note(&bed), "one");
    wants(&mut bed, &reference, "always");
    deploys(&bed);
    assert_eq!(note(&bed), "two");
    bed.ok(&["rollback"]);
    bed.wait_until_settled(3);
    assert_eq!(note(&bed), "one", "a tag that moved changes nothing that was deployed");
    assert!(!engine_has(&reference));
    // Somebody else's name for it is left alone.
    registry.docker(&["pull", "--quiet", &reference], "");
    wants(&mut bed, &reference, "always");
    deploys(&bed);
    assert!(engine_has(&reference), "it was there before the pull");
    registry.docker(&["image", "rm", &reference], "");
}

#[test]
fn what_a_pulled_image_loses_is_said_by_deploy_and_status_until_there_is_a_volume() {
    let registry = Registry::up();
    registry.push_with("shop:1", "VOLUME /cache /tmp/up");
    let mut bed = running();
    login(&bed, &registry, PASSWORD);
    wants(&mut bed, &registry.reference("shop:1"), "always");
    let said = |path: &str| format!("the image declares `{path}` as a volume, and none is mounted there");
    let deployed = bed.pando(&["deploy"]);
    let told = told(&deployed);
    assert!(deployed.status.success(), "{told}\n{}", bed.daemon_log());
    for path in ["/cache", "/tmp/up"] {
        assert_eq!(told.matches(&said(path)).count(), 1, "three replicas, one line: {told}");
    }
    let warnings = || bed.status()["warnings"].to_string();
    assert!(
        warnings().contains(&said("/cache")) && warnings().contains("volumes: [\\\"cache:/cache\\\"]"),
        "{}",
        warnings()
    );
    let daemon = bed.daemon_pid();
    kill(daemon);
    bed.wait_for("the next daemon", 10, |_| bed.daemon_pid() != daemon);
    bed.wait_until_settled(3);
    let shown = bed.ok(&["status"]);
    assert_eq!(shown.matches(&said("/cache")).count(), 1, "{shown}");
    // What has a volume is no longer said, and the other is.
    let volume = format!("cache-{}", std::process::id());
    let text = fs::read_to_string(bed.path("pando.yaml")).unwrap();
    fs::write(
        bed.path("pando.yaml"),
        text.replace("volumes: [", &format!("volumes: [\"{volume}:/cache\", ")),
    )
    .unwrap();
    let again = bed.json(&["deploy"]);
    let warnings = again["warnings"].to_string();
    assert!(warnings.contains(&said("/tmp/up")) && !warnings.contains("/cache"), "{again}");
    assert!(!bed.status()["warnings"].to_string().contains("/cache"), "{}", bed.status());
    bed.ok(&["dev", "--stop"]);
    run(Command::new("docker").args(["volume", "rm", &format!("pando.hits.{volume}")]));
}

#[test]
fn what_somebody_calls_by_a_releases_name_is_not_run_as_that_release() {
    let registry = Registry::up();
    registry.push("shop:1", "one");
    let mut bed = running();
    login(&bed, &registry, PASSWORD);
    wants(&mut bed, &registry.reference("shop:1"), "always");
    deploys(&bed);
    let owner = fs::read_to_string(bed.path(".pando/containers/owner")).unwrap();
    let release = format!("pando/hits:v{}-{}", bed.release(), &owner[owner.len() - 8..]);
    let replaced_and_ended = |daemon: bool| {
        registry.docker(&["tag", &image::hits(), &release], "");
        if daemon {
            let daemon = bed.daemon_pid();
            kill(daemon);
            bed.wait_for("the next daemon", 10, |_| bed.daemon_pid() != daemon);
        }
        let before = bed.wait_until_settled(3)["replicas"][0].clone();
        kill(u32::try_from(before["pid"].as_u64().unwrap()).unwrap());
        bed.wait_for("another run", 30, |status| {
            let now = &status["replicas"][0];
            now["state"] == "serving" && now["pid"] != before["pid"]
        });
        assert_eq!(note(&bed), "one");
    };
    replaced_and_ended(false);
    replaced_and_ended(true);
    // Going back and forth needs no registry.
    let pulled = bed.release();
    drop(registry);
    bed.ok(&["rollback"]);
    run(Command::new("docker").args(["tag", &image::hits(), &release]));
    bed.ok(&["rollback", &format!("v{pulled}")]);
    bed.wait_until_settled(3);
    assert_eq!(note(&bed), "one");
}
