//! A runtime of containers, and the image that its tests run: a shell and some tools, made from this machine's `busybox`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::CreateImageOptions;
use futures_util::TryStreamExt;
use pando_model::observed::ExitReport;
use pando_model::resources::Resources;
use pando_model::time::Millis;
use pando_rt::shutdown::Shutdown;
use pando_runtime::docker::{DockerRuntime, DockerSettings, Engine};
use pando_runtime::logs::{LogSettings, LogStore, Query, Sources, Stream};
use pando_runtime::{Held, ImagePlace, Place, RunEvent, RunKey, RunSpec, Runtime};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::support::PATIENCE;

pub(crate) const IMAGE: &str = "pando-test/tools:1";

/// The engine of this machine: `script/test` starts one where there is none.
pub(crate) const SOCKET: &str = "/var/run/docker.sock";

/// A runtime, the receiver of its events, and what it leaves behind to be cleared away.
pub(crate) struct Bed {
    pub(crate) runtime: DockerRuntime,
    pub(crate) events: mpsc::Receiver<RunEvent>,
    pub(crate) root: tempfile::TempDir,
    socket: PathBuf,
    cluster: String,
}

pub(crate) fn settings(state_dir: &Path, socket: &Path, cluster: &str) -> DockerSettings {
    DockerSettings {
        state_dir: state_dir.to_owned(),
        engine: Engine::at(socket),
        log: LogSettings::default(),
        cluster: cluster.to_owned(),
    }
}

impl Bed {
    pub(crate) fn new() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| on_a_thread(make_image(SOCKET.into(), &[])));
        Self::at(Path::new(SOCKET))
    }

    pub(crate) fn of_cluster(cluster: &str) -> Self {
        let mut bed = Self::new();
        cluster.clone_into(&mut bed.cluster);
        bed.open_untouched();
        bed.events = bed.runtime.events().unwrap();
        bed
    }

    pub(crate) fn at(socket: &Path) -> Self {
        let root = tempfile::tempdir().unwrap();
        let cluster = "of-tests".to_owned();
        let runtime = DockerRuntime::open(settings(root.path(), socket, &cluster), &Shutdown::new()).unwrap();
        let events = runtime.events().unwrap();
        Self { runtime, events, root, socket: socket.to_owned(), cluster }
    }

    pub(crate) async fn close(&self) {
        assert!(self.runtime.close(PATIENCE).await);
    }

    /// As after a restart of the daemon, with the receiver of events still to be had.
    pub(crate) fn open_untouched(&mut self) {
        let settings = settings(self.root.path(), &self.socket, &self.cluster);
        self.runtime = DockerRuntime::open(settings, &Shutdown::new()).unwrap();
    }

    /// As after a restart of the daemon.
    pub(crate) async fn reopen(&mut self) {
        self.close().await;
        self.open_untouched();
        self.events = self.runtime.events().unwrap();
    }

    pub(crate) async fn start(&self, spec: &RunSpec) -> Held {
        self.runtime.start(spec.clone()).await.unwrap()
    }

    pub(crate) async fn ended(&mut self, key: RunKey) -> ExitReport {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an end in time");
        let RunEvent::Ended { key: told, exit } = event.unwrap();
        assert_eq!(told, key);
        exit
    }

    /// What the runs called `name` printed, without times.
    pub(crate) async fn printed(&self, name: &str) -> Vec<(Stream, String)> {
        let store = LogStore::new(self.root.path().join("logs"), LogSettings::default());
        let query = Query {
            sources: Sources::Names([name.to_owned()].into()),
            ..Query::all("shop".parse().unwrap())
        };
        let mut lines = store.read(query);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            let line = line.unwrap();
            all.push((line.stream, line.text));
        }
        all
    }

    pub(crate) async fn output(&self, name: &str) -> Vec<String> {
        let printed = self.printed(name).await.into_iter();
        printed.filter(|(stream, _)| *stream != Stream::Pando).map(|(_, text)| text).collect()
    }

    /// Waits until the output is so.
    pub(crate) async fn prints(&self, name: &str, wanted: impl Fn(&[String]) -> bool) {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let output = self.output(name).await;
            if wanted(&output) {
                return;
            }
            assert!(tokio::time::Instant::now() < until, "it printed {output:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The engine itself, for what a person would do with it.
    pub(crate) fn docker(&self) -> Docker {
        connect(&self.socket)
    }
}

pub(crate) fn connect(socket: &Path) -> Docker {
    Docker::connect_with_unix(
        &socket.display().to_string(),
        120,
        &bollard::ClientVersion { major_version: 1, minor_version: 41 },
    )
    .unwrap_or_else(|error| {
        panic!(
            "no container engine at `{}` ({error}): `script/test` installs and starts one",
            socket.display()
        )
    })
}

/// Leaves nothing running behind a test, even one that failed.
impl Drop for Bed {
    fn drop(&mut self) {
        on_a_thread(remove_containers(self.socket.clone(), owner(self.root.path())));
    }
}

pub(crate) fn owner(state_dir: &Path) -> String {
    std::fs::read_to_string(state_dir.join("containers/owner")).unwrap_or_default()
}

pub(crate) async fn remove_containers(socket: PathBuf, owner: String) {
    if owner.is_empty() || !socket.exists() {
        return;
    }
    let docker = connect(&socket);
    let label = vec![format!("pando.owner={owner}")];
    let options = bollard::query_parameters::ListContainersOptions {
        all: true,
        filters: Some([("label".to_owned(), label)].into()),
        ..Default::default()
    };
    for container in docker.list_containers(Some(options)).await.unwrap_or_default() {
        let options =
            bollard::query_parameters::RemoveContainerOptions { force: true, v: true, ..Default::default() };
        let _ = docker.remove_container(&container.id.unwrap_or_default(), Some(options)).await;
    }
}

/// For what must not end with a test's own Tokio.
pub(crate) fn on_a_thread(work: impl Future<Output = ()> + Send + 'static) {
    let work = std::thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    });
    work.join().unwrap();
}

/// Gives the engine the image, unless it has it; with more lines of a Dockerfile it gets a name of its own.
pub(crate) async fn make_image(socket: PathBuf, changes: &[&str]) {
    make_image_as(socket, IMAGE, changes).await;
}

pub(crate) async fn make_image_as(socket: PathBuf, reference: &str, changes: &[&str]) {
    let docker = connect(&socket);
    if docker.inspect_image(reference).await.is_ok() {
        return;
    }
    let (repo, tag) = reference.rsplit_once(':').unwrap();
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(repo.to_owned()),
        tag: Some(tag.to_owned()),
        changes: changes.iter().map(|change| (*change).to_owned()).collect(),
        ..Default::default()
    };
    let body = bollard::body_full(tools().into());
    docker.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await.unwrap();
}

/// A root file system as a tar archive.
fn tools() -> Vec<u8> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).exists());
    let program = std::fs::read(busybox.expect("busybox, which `script/test` installs")).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        tar.append_data(&mut header, path, bytes).unwrap();
    };
    add("bin/busybox", 0o755, &program);
    add("bin/not-executable", 0o644, b"#!/bin/sh\n");
    add("bin/foreign", 0o755, b"\x7fELF and nothing else");
    add("etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n");
    let tools = [
        "sh", "sleep", "echo", "cat", "id", "pwd", "env", "httpd", "kill", "stty", "tail", "dd", "seq",
        "touch", "ls", "usleep",
    ];
    for tool in tools {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{tool}"), "busybox").unwrap();
    }
    tar.into_inner().unwrap()
}

pub(crate) fn spec(command: &str) -> RunSpec {
    let id = Uuid::now_v7();
    RunSpec {
        key: RunKey { id, attempt: 0 },
        app: "shop".parse().unwrap(),
        name: "web-1".to_owned(),
        command: command.to_owned(),
        place: Place::Image(Box::new(ImagePlace::of(IMAGE))),
        env: BTreeMap::new(),
        user: None,
        resources: Resources::default(),
        port: None,
    }
}

pub(crate) fn spec_in(image: ImagePlace, command: &str) -> RunSpec {
    RunSpec { place: Place::Image(Box::new(image)), ..spec(command) }
}

/// Soon enough, and late enough to tell it from at once.
pub(crate) const SOON: Millis = Millis(300);
