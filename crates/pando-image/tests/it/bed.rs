//! An engine of a test's own, and images made for it. Tests of other crates use it, too.

#![allow(dead_code, reason = "not every test of every crate needs all of it")]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pando_image::engine::Engine;
use pando_image::frames::{LEVEL, Packer};
use pando_image::hash::digest_of;
use pando_image::image::{Image, Layer};
use serde_json::json;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with its engine when it is dropped.
pub(crate) struct Bed {
    daemon: Child,
    directory: TempDir,
    pub(crate) engine: Engine,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (daemon, engine) = start(directory.path(), &directory.path().join("data")).await;
        Self { daemon, directory, engine }
    }

    /// Whose data lies in `data`.
    pub(crate) async fn with_data(data: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (daemon, engine) = start(directory.path(), data).await;
        Self { daemon, directory, engine }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("engine.sock")
    }

    /// Once more, after it ended.
    pub(crate) async fn restart(&mut self, data: &Path) {
        (self.daemon, self.engine) = start(self.directory.path(), data).await;
    }

    /// Ends the engine, and the containerd that it started.
    pub(crate) fn end(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.daemon);
        // One that has ended already can't be told to.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        self.daemon.wait().unwrap();
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.end();
    }
}

async fn start(directory: &Path, data: &Path) -> (Child, Engine) {
    let socket = directory.join("engine.sock");
    let log = std::fs::File::create(directory.join("log")).unwrap();
    // Nothing runs in it; a network of its own, since dockerd without a bridge takes away that of the machine's engine.
    let daemon = Command::new("unshare")
        .args(["--net", "dockerd", "--data-root"])
        .arg(data)
        .arg("--exec-root")
        .arg(directory.join("exec"))
        .arg("--pidfile")
        .arg(directory.join("pid"))
        .arg("-H")
        .arg(format!("unix://{}", socket.display()))
        .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"])
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap()))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("`dockerd` is needed (Debian's package docker.io)");
    let until = Instant::now() + PATIENCE;
    loop {
        match Engine::connect(&socket).await {
            Ok(engine) => return (daemon, engine),
            Err(error) if Instant::now() > until => {
                let mut said = String::new();
                std::fs::File::open(directory.join("log")).unwrap().read_to_string(&mut said).unwrap();
                panic!("no engine: {error}; it said:\n{said}");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// A layer with one file of that name and content.
pub(crate) fn layer(name: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content).unwrap();
    tar.into_inner().unwrap()
}

/// Packs the layers into `directory` and answers an image of them for this machine.
pub(crate) fn image(directory: &Path, layers: &[Vec<u8>]) -> Image {
    let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
    let architecture = pando_image::image::Platform::of_machine(&machine).architecture;
    let packed: Vec<Layer> = layers.iter().map(|raw| pack(directory, raw)).collect();
    let ids: Vec<String> = packed.iter().map(|layer| format!("sha256:{}", layer.diff_id)).collect();
    let config = json!({
        "architecture": architecture, "os": "linux", "config": { "Cmd": ["/hello"] },
        "rootfs": { "type": "layers", "diff_ids": ids }, "created": "2026-01-01T00:00:00Z",
    });
    Image::new(config.to_string(), packed).unwrap()
}

fn pack(directory: &Path, raw: &[u8]) -> Layer {
    let (mut packer, mut packed) = (Packer::new(raw, LEVEL).unwrap(), Vec::new());
    while let Some((frame, _)) = packer.frame().unwrap() {
        packed.extend_from_slice(frame);
    }
    let digest = digest_of(&packed);
    std::fs::write(directory.join(digest.as_str()), &packed).unwrap();
    Layer {
        diff_id: digest_of(raw),
        bytes: raw.len() as u64,
        packed: digest,
        packed_bytes: packed.len() as u64,
    }
}

/// Where [`image`] put a layer.
pub(crate) fn place(directory: &Path) -> impl Fn(&Layer) -> PathBuf + Send + 'static {
    let directory = directory.to_owned();
    move |layer| directory.join(layer.packed.as_str())
}
