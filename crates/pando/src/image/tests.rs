//! From a real engine to a real control plane; as root.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pando_image::engine::Engine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::cli::{Color, GlobalArgs};
use bed::Bed;
use cluster::{Cluster, spec};

#[path = "../../../pando-image/tests/it/bed.rs"]
mod bed;
#[path = "../../../pando-control/tests/it/cluster.rs"]
#[allow(dead_code, reason = "its own tests need all of it")]
mod cluster;

/// A line to the control plane that counts what goes up, and is cut once after so many bytes.
struct Line {
    address: SocketAddr,
    up: Arc<AtomicU64>,
}

impl Line {
    async fn new(to: SocketAddr, cut_after: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, up) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let (counter, cut) = (Arc::clone(&up), Arc::new(AtomicBool::new(false)));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(to).await.unwrap();
                tokio::spawn(carry(near, far, Arc::clone(&counter), Arc::clone(&cut), cut_after));
            }
        });
        Self { address, up }
    }

    async fn client(&self, cluster: &Cluster) -> Client {
        let token = cluster.token(pando_api::auth::Scope::Admin, None).await;
        Client::new(&format!("http://{}", self.address), Some(token)).unwrap()
    }

    /// Since it was asked last.
    fn up(&self) -> u64 {
        self.up.swap(0, Ordering::Relaxed)
    }
}

async fn carry(near: TcpStream, far: TcpStream, up: Arc<AtomicU64>, cut: Arc<AtomicBool>, cut_after: u64) {
    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
    let rising = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = near_in.read(&mut buffer).await {
            let so_far = up.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
            if so_far > cut_after && !cut.swap(true, Ordering::Relaxed) {
                return;
            }
            if far_out.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = rising => {}
        _ = tokio::io::copy(&mut far_in, &mut near_out) => {}
    }
}

/// Does not compress.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = pando_model::id::Entropy::from_seed(seed);
    (0..bytes / 8).flat_map(|_| random.next_u64().to_le_bytes()).collect()
}

fn quiet() -> Printer {
    Printer::new(&GlobalArgs { file: None, json: true, cluster: None, color: Color::Never })
}

async fn load(bed: &Bed, name: &str, layers: &[Vec<u8>]) -> Image {
    let image = bed::image(bed.path(), layers);
    bed.engine.load(&image, name, 0, bed::place(bed.path())).await.unwrap();
    image
}

async fn send(engine: &Engine, client: &Client, reference: &str) -> anyhow::Result<Option<Digest>> {
    let spec = spec("hits");
    Sending { printer: quiet(), client, engine, spec: &spec, reference }.send(false).await
}

async fn described(cluster: &Cluster, digest: &Digest) -> Image {
    let mut body = cluster.client.get_artifact(digest, 0).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = body.piece().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    Image::read(&bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_cluster_lacks_is_sent() {
    let (bed, cluster) = (Bed::new().await, Cluster::in_memory().await);
    let line = Line::new(cluster.address, u64::MAX).await;
    let client = line.client(&cluster).await;
    let base = bed::layer("base", &noise(1, 20_000_000));
    let image = load(&bed, "app:1", &[base.clone(), bed::layer("line", b"one")]).await;
    let digest = send(&bed.engine, &client, "app:1").await.unwrap().unwrap();
    assert_eq!(described(&cluster, &digest).await.id(), image.id());
    let whole = line.up();
    assert!((20_000_000..21_000_000).contains(&whole), "{whole}");
    // One line changed.
    let image = load(&bed, "app:2", &[base, bed::layer("line", b"two")]).await;
    let digest = send(&bed.engine, &client, "app:2").await.unwrap().unwrap();
    assert_eq!(described(&cluster, &digest).await.id(), image.id());
    let changed = line.up();
    assert!(changed < whole / 100, "{changed} of {whole}");
    // Nothing changed: one question, and the answer is known.
    assert_eq!(send(&bed.engine, &client, "app:2").await.unwrap(), Some(digest));
    let nothing = line.up();
    assert!(nothing < 8_000, "{nothing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cable_that_is_cut_at_nine_tenths_costs_a_frame_of_each_layer() {
    let (bed, cluster) = (Bed::new().await, Cluster::on_disk().await);
    let size = 12_000_000;
    let line = Line::new(cluster.address, 2 * size * 9 / 10).await;
    let client = line.client(&cluster).await;
    let layers = [1, 2].map(|seed| bed::layer("noise", &noise(seed, usize::try_from(size).unwrap())));
    let image = load(&bed, "app:1", &layers).await;
    let digest = send(&bed.engine, &client, "app:1").await.unwrap().unwrap();
    let sent = described(&cluster, &digest).await;
    assert_eq!(sent.id(), image.id());
    // What was on its way when the cable was cut is lost: a frame of each layer, and what lay in sockets.
    let up = line.up();
    let frames = 2 * pando_image::frames::FRAME as u64;
    assert!((2 * size..2 * size + frames + 3_000_000).contains(&up), "{up}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_machine_lacks_is_said() {
    let (bed, cluster) = (Bed::new().await, Cluster::in_memory().await);
    let error = send(&bed.engine, &cluster.client, "nobody/has:this").await.unwrap_err();
    assert!(error.is::<ImageTrouble>() && error.to_string().contains("`nobody/has:this`"), "{error}");
    load(&bed, "app:1", &[bed::layer("small", b"x")]).await;
    let spec = spec("hits");
    let sending = Sending {
        printer: quiet(),
        client: &cluster.client,
        engine: &bed.engine,
        spec: &spec,
        reference: "app:1",
    };
    assert_eq!(sending.send(true).await.unwrap(), None, "a dry run sends nothing");
    let kept = std::fs::read_dir(&cluster.shared.settings.artifact_dir).map_or(0, Iterator::count);
    assert_eq!(kept, 0);
}

/// By whatever builder the `docker` command here uses.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_built_from_its_context_without_what_is_ignored() {
    let bed = Bed::new().await;
    let context = bed.path().join("context");
    std::fs::create_dir(&context).unwrap();
    for (name, text) in [("kept", "kept"), ("secret", "secret"), (".dockerignore", "secret\n")] {
        std::fs::write(context.join(name), text).unwrap();
    }
    let instructions = "FROM scratch\nARG COLOUR\nLABEL colour=$COLOUR\nCOPY . /app/\nCMD [\"/app/kept\"]\n";
    std::fs::write(context.join("Dockerfile"), instructions).unwrap();
    let args = [("COLOUR".to_owned(), "blue".to_owned())].into();
    let build = pando_config::Build {
        dockerfile: context.join("Dockerfile"),
        context: context.clone(),
        args,
        target: None,
    };
    let socket = bed.socket();
    let building = Building { build: &build, engine: &bed.engine, socket: &socket, tag: "hits:build" };
    let id = building.run(&[]).await.unwrap();
    let found = bed.engine.inspect(&id).await.unwrap().unwrap();
    assert_eq!(bed.engine.inspect("hits:build").await.unwrap().unwrap().id, found.id);
    let cluster = Cluster::in_memory().await;
    let digest = send(&bed.engine, &cluster.client, &id).await.unwrap().unwrap();
    let image = described(&cluster, &digest).await;
    assert!(image.config().contains("\"colour\":\"blue\""), "{}", image.config());
    let mut names = Vec::new();
    for layer in image.layers() {
        let path = cluster.shared.settings.artifact_dir.join(format!("{}.layer.zst", layer.packed));
        let unpacked = pando_image::frames::unpacked(std::fs::File::open(path).unwrap()).unwrap();
        let mut archive = tar::Archive::new(unpacked);
        names.extend(archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()));
    }
    let has = |name: &str| names.iter().any(|path| path.ends_with(name));
    assert!(has("app/kept") && !has("app/secret"), "{names:?}");

    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY nothing /\n").unwrap();
    let error = building.run(&[]).await.unwrap_err();
    assert!(matches!(&error, ImageTrouble::NotBuilt { .. }), "{error}");
    assert!(error.to_string().contains(&build.dockerfile.display().to_string()), "{error}");
}
