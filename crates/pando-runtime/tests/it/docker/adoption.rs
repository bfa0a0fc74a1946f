//! After a restart of the daemon, containers are found side by side.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pando_runtime::docker::{DockerRuntime, DockerSettings, Engine};
use pando_runtime::logs::LogSettings;
use pando_runtime::{RunSpec, Runtime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::bed::{Bed, SOCKET, spec};

/// So many are asked about before the engine answers for the first of them.
const TOGETHER: usize = 4;

/// An engine that answers what is asked about containers only when it was asked about several: then they are looked at together.
/// Who looked at them one by one would wait in vain.
fn gathering_engine(directory: &Path) -> PathBuf {
    let socket = directory.join("gathering.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let asked = Arc::new(watch::Sender::new(BTreeSet::new()));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(relay(client, Arc::clone(&asked)));
        }
    });
    socket
}

async fn relay(client: UnixStream, asked: Arc<watch::Sender<BTreeSet<String>>>) {
    let engine = UnixStream::connect(SOCKET).await.unwrap();
    let ((mut from_client, mut to_client), (mut from_engine, mut to_engine)) =
        (client.into_split(), engine.into_split());
    let inward = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            if let Some(container) = looked_at(&buffer[..length]) {
                asked.send_modify(|asked| {
                    asked.insert(container);
                });
                let _ = asked.subscribe().wait_for(|asked| asked.len() >= TOGETHER).await;
            }
            if to_engine.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    let outward = tokio::io::copy(&mut from_engine, &mut to_client);
    tokio::select! {
        () = inward => {}
        _ = outward => {}
    }
}

/// The container of a request `GET /v1.41/containers/ID/json`.
fn looked_at(request: &[u8]) -> Option<String> {
    let request = String::from_utf8_lossy(request);
    let path = request.strip_prefix("GET ")?.split(' ').next()?;
    let (_, rest) = path.split_once("/containers/")?;
    let (container, rest) = rest.split_once('/')?;
    rest.starts_with("json").then(|| container.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_are_adopted_side_by_side() {
    let bed = Bed::new();
    let runs: Vec<RunSpec> = (0..TOGETHER).map(|_| spec("exec sleep 600")).collect();
    for run in &runs {
        bed.start(run).await;
    }
    bed.close().await;
    let settings = DockerSettings {
        state_dir: bed.root.path().to_owned(),
        engine: Engine::at(gathering_engine(bed.root.path())),
        log: LogSettings::default(),
        cluster: "of-tests".to_owned(),
    };
    let shutdown = pando_rt::shutdown::Shutdown::new();
    let runtime = DockerRuntime::open(settings, &shutdown).unwrap();
    let held = runtime.adopt().await.unwrap();
    assert_eq!(held.len(), TOGETHER);
    // The engine has told of each: one that could not be asked about would count as running, without a pid.
    assert!(held.iter().all(|one| one.pid.is_some()), "{held:?}");
    assert!(runtime.close(crate::support::PATIENCE).await);
}
