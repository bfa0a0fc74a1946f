//! With an engine of its own each, as root.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pando_image::hash::digest_of;
use pando_model::app::PullPolicy;
use pando_model::assignment::{AssignedRelease, ReleaseImage};
use pando_model::release::ReleaseNumber;
use pando_rt::tasks::Tasks;
use pando_runtime::docker::{Containers, DockerRuntime, DockerSettings};
use pando_runtime::logs::LogSettings;
use tokio::sync::mpsc;

use super::*;
use crate::artifacts::{Limits, Order, Releases, Sent, Setup, SourceError, Whom};
use crate::reconcile::{Event, Needs, ReleaseKey, image_name};
use bed::{Bed, layer};

#[path = "../../../../pando-image/tests/it/bed.rs"]
mod bed;

const DEADLINE: Duration = Duration::from_secs(60);

/// Has what is put into it, and notes what it was asked for.
#[derive(Clone, Default)]
struct Store {
    held: Arc<Mutex<BTreeMap<Digest, Bytes>>>,
    asked: Arc<Mutex<Vec<Digest>>>,
}

impl ArtifactSource for Store {
    async fn fetch(&self, digest: &Digest, offset: u64, _: Whom) -> Result<Sent, SourceError> {
        self.asked.lock().unwrap().push(digest.clone());
        let held = self.held.lock().unwrap().get(digest).cloned();
        let bytes = held.ok_or_else(|| SourceError::Refused(format!("there is no {digest} here")))?;
        let rest = bytes.slice(usize::try_from(offset).unwrap()..);
        let left = Some(rest.len() as u64);
        Ok(Sent { left, pieces: Box::pin(futures_util::stream::iter([Ok(rest)])) })
    }
}

struct Bench {
    bed: Bed,
    store: Store,
    events: mpsc::Receiver<Event>,
    releases: Releases<Store>,
    containers: Containers,
}

impl Bench {
    async fn new() -> Self {
        let bed = Bed::new().await;
        let (store, (sender, events)) = (Store::default(), mpsc::channel(16));
        let docker = DockerSettings {
            state_dir: bed.path().join("state"),
            engine: pando_runtime::docker::Engine::at(bed.socket()),
            log: LogSettings::default(),
            cluster: "of-tests".to_owned(),
        };
        let containers = DockerRuntime::open(docker, &Shutdown::new()).unwrap().containers();
        let setup = Setup {
            containers: Some(containers.clone()),
            directory: bed.path().join("releases"),
            users: false,
            source: store.clone(),
            limits: Limits::default(),
            engine: bed.socket(),
        };
        let releases = Releases::new(setup, Tasks::new(&Shutdown::new()), sender);
        releases.scan().unwrap();
        Self { bed, store, events, releases, containers }
    }

    /// An image of these layers, as the control plane would have it.
    fn publish(&self, layers: &[Vec<u8>]) -> Image {
        let image = bed::image(self.bed.path(), layers);
        self.put(&image);
        image
    }

    fn put(&self, image: &Image) -> Digest {
        let description = image.encode();
        let digest = digest_of(&description);
        let mut held = self.store.held.lock().unwrap();
        held.insert(digest.clone(), description.into());
        for layer in image.layers() {
            let packed = std::fs::read(self.bed.path().join(layer.packed.as_str())).unwrap();
            held.insert(layer.packed.clone(), packed.into());
        }
        digest
    }

    fn asked(&self) -> Vec<Digest> {
        std::mem::take(&mut *self.store.asked.lock().unwrap())
    }

    async fn next(&mut self) -> Event {
        tokio::time::timeout(DEADLINE, self.events.recv()).await.expect("an event in time").unwrap()
    }

    async fn ensure(&mut self, image: &Image, number: u64) -> Event {
        self.releases.order(Order::Ensure(release(image, number)));
        loop {
            match self.next().await {
                Event::ReleaseFetched(_) => {}
                other => return other,
            }
        }
    }

    async fn ready(&mut self, image: &Image, number: u64) {
        assert_eq!(self.ensure(image, number).await, Event::ReleaseReady(key(number)));
    }

    fn name(&self, number: u64) -> String {
        image_name(self.containers.mark(), &key(number))
    }

    async fn engine_has(&self, number: u64) -> Option<Digest> {
        self.bed.engine.inspect(&self.name(number)).await.unwrap().map(|found| found.id)
    }

    fn whole(&self, digest: &Digest) -> PathBuf {
        self.bed.path().join("releases/.fetched").join(digest.as_str())
    }
}

fn release(image: &Image, number: u64) -> AssignedRelease {
    AssignedRelease {
        app: "hits".parse().unwrap(),
        release: ReleaseNumber(number),
        artifact: Some(digest_of(&image.encode())),
        image: Some(ReleaseImage { reference: "hits:build".to_owned(), pull_policy: PullPolicy::Never }),
        prepare: None,
        asset_path: None,
        env: BTreeMap::new(),
    }
}

fn key(number: u64) -> ReleaseKey {
    ("hits".parse().unwrap(), ReleaseNumber(number))
}

fn content(name: &str) -> Vec<u8> {
    layer(name, name.repeat(50_000).as_bytes())
}

fn message(event: Event) -> String {
    match event {
        Event::ReleaseFailed { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_image_is_fetched_once_and_its_layers_serve_the_next_release() {
    let mut bench = Bench::new().await;
    let (base, one, two) = (content("base"), content("one"), content("two"));
    let first = bench.publish(&[base.clone(), one]);
    bench.ready(&first, 1).await;
    assert_eq!(bench.engine_has(1).await, Some(first.id()));
    assert_eq!(bench.asked().len(), 3, "the description and two layers");
    let second = bench.publish(&[base, two]);
    bench.ready(&second, 2).await;
    let new = [digest_of(&second.encode()), second.layers()[1].packed.clone()];
    assert_eq!(bench.asked(), new, "the lower layer was here");
    // The same image as another release: nothing but a name.
    bench.ready(&second, 3).await;
    assert_eq!(bench.asked(), []);
    assert_eq!(bench.engine_has(3).await, Some(second.id()));
    assert_eq!(bench.ensure(&second, 3).await, Event::ReleaseReady(key(3)), "nothing is left to do");
}

#[tokio::test]
async fn what_the_engine_has_from_elsewhere_is_not_fetched() {
    let mut bench = Bench::new().await;
    let (base, top) = (content("base"), content("top"));
    let pulled = bed::image(bench.bed.path(), std::slice::from_ref(&base));
    bench.bed.engine.load(&pulled, "debian:12", 0, bed::place(bench.bed.path())).await.unwrap();
    let image = bench.publish(&[base, top]);
    bench.ready(&image, 1).await;
    assert_eq!(bench.asked(), [digest_of(&image.encode()), image.layers()[1].packed.clone()]);
    assert_eq!(bench.engine_has(1).await, Some(image.id()));
}

#[tokio::test]
async fn an_image_that_the_engine_lost_comes_back_from_this_disk() {
    let mut bench = Bench::new().await;
    let image = bench.publish(&[content("base"), content("top")]);
    bench.ready(&image, 1).await;
    bench.bed.engine.untag(&bench.name(1)).await.unwrap();
    assert_eq!(bench.engine_has(1).await, None);
    bench.asked();
    assert_eq!(bench.ensure(&image, 1).await, Event::ReleaseReady(key(1)));
    assert_eq!(bench.engine_has(1).await, Some(image.id()));
    assert_eq!(bench.asked(), []);
}

/// An image with the same layers that says something else of itself.
fn sibling(image: &Image) -> Image {
    Image::new(image.config().replace("/hello", "/other"), image.layers().to_vec()).unwrap()
}

impl Bench {
    /// As somebody would by hand.
    async fn call_it(&self, image: &Image, name: &str) {
        self.bed.engine.load(image, name, 0, bed::place(self.bed.path())).await.unwrap();
    }

    /// With whatever it is called by.
    fn remove(&self, image: &Image) {
        let mut docker = std::process::Command::new("docker");
        docker.arg("-H").arg(format!("unix://{}", self.bed.socket().display()));
        let removed =
            docker.args(["image", "rm", "--force", &format!("sha256:{}", image.id())]).output().unwrap();
        assert!(removed.status.success(), "{removed:?}");
    }
}

#[tokio::test]
async fn another_image_under_a_releases_name_is_not_the_release() {
    let mut bench = Bench::new().await;
    let image = bench.publish(&[content("base"), content("top")]);
    let others = [bed::image(bench.bed.path(), &[content("base"), content("foreign")]), sibling(&image)];
    // Before it ever came, while its own is there, and when that is gone: then it comes from this disk.
    bench.call_it(&others[0], &bench.name(1)).await;
    bench.ready(&image, 1).await;
    assert_eq!(bench.engine_has(1).await, Some(image.id()));
    bench.asked();
    for other in &others {
        for gone in [false, true] {
            bench.call_it(other, &bench.name(1)).await;
            if gone {
                bench.remove(&image);
            }
            assert_eq!(bench.engine_has(1).await, Some(other.id()));
            bench.ready(&image, 1).await;
            assert_eq!(
                (bench.engine_has(1).await, bench.asked()),
                (Some(image.id()), Vec::new()),
                "gone: {gone}"
            );
        }
    }
}

#[tokio::test]
async fn a_kept_release_is_what_was_pulled_whatever_its_names_became() {
    let mut bench = Bench::new().await;
    let (one, two) = (bench.publish(&[content("one")]), bench.publish(&[content("two")]));
    let pulled = |number| AssignedRelease { artifact: None, ..release(&one, number) };
    bench.call_it(&one, "hits:build").await;
    let ensured = async |number, bench: &mut Bench| {
        bench.releases.order(Order::Ensure(pulled(number)));
        bench.next().await
    };
    assert_eq!(ensured(1, &mut bench).await, Event::ReleaseReady(key(1)));
    // The name in the file moves, somebody gives ours away, and the engine is started anew: going back needs nobody else.
    bench.call_it(&two, "hits:build").await;
    bench.call_it(&two, &bench.name(1)).await;
    let data = bench.bed.path().join("data");
    bench.bed.end();
    bench.bed.restart(&data).await;
    assert_eq!(ensured(1, &mut bench).await, Event::ReleaseReady(key(1)));
    assert_eq!(bench.engine_has(1).await, Some(one.id()));
    // One without a record of which image it was, as earlier versions left it, is taken as it is, and known from then on.
    let note = bench.bed.path().join("releases/hits/v1.image");
    std::fs::write(&note, br#"{"reference": "hits:build", "ours": false}"#).unwrap();
    assert_eq!(ensured(1, &mut bench).await, Event::ReleaseReady(key(1)));
    bench.call_it(&two, &bench.name(1)).await;
    assert_eq!(ensured(1, &mut bench).await, Event::ReleaseReady(key(1)));
    assert_eq!(bench.engine_has(1).await, Some(one.id()));
    // Its own image is gone, and may not be pulled: nothing else runs in its place.
    bench.call_it(&two, &bench.name(1)).await;
    bench.remove(&one);
    bench.bed.engine.untag("hits:build").await.unwrap();
    let said = message(ensured(1, &mut bench).await);
    assert!(said.contains("`pull_policy: never`"), "{said}");
}

#[tokio::test]
async fn a_number_that_another_release_had_says_nothing_of_its_image() {
    let mut bench = Bench::new().await;
    let (one, two) = (bench.publish(&[content("one")]), bench.publish(&[content("two")]));
    bench.ready(&one, 1).await;
    bench.ready(&two, 1).await;
    assert_eq!(bench.engine_has(1).await, Some(two.id()));
    bench.ready(&one, 1).await;
    assert_eq!(bench.engine_has(1).await, Some(one.id()));
}

#[tokio::test]
async fn a_layer_that_is_damaged_on_disk_is_fetched_anew() {
    let mut bench = Bench::new().await;
    let image = bench.publish(&[content("base"), content("top")]);
    let damaged = &image.layers()[0].packed;
    std::fs::write(bench.whole(damaged), b"what a bad disk makes of it").unwrap();
    bench.ready(&image, 1).await;
    assert_eq!(bench.engine_has(1).await, Some(image.id()));
    assert!(bench.asked().contains(damaged));
    assert_eq!(digest_of(&std::fs::read(bench.whole(damaged)).unwrap()), *damaged);
}

#[tokio::test]
async fn a_layer_that_nobody_has_fails_the_release_and_leaves_the_engine_as_it_was() {
    let mut bench = Bench::new().await;
    let image = bench.publish(&[content("base"), content("top")]);
    let lost = &image.layers()[1].packed;
    bench.store.held.lock().unwrap().remove(lost);
    let said = message(bench.ensure(&image, 1).await);
    assert!(said.contains(lost.as_str()), "{said}");
    assert_eq!(bench.engine_has(1).await, None);
    bench.put(&image);
    bench.ready(&image, 1).await;
}

#[tokio::test]
async fn an_image_for_another_platform_is_refused_before_it_is_fetched() {
    let mut bench = Bench::new().await;
    let image = bench.publish(&[content("base")]);
    let other =
        Image::new(image.config().replace(&image.platform().architecture, "s390x"), image.layers().to_vec());
    let other = other.unwrap();
    bench.put(&other);
    let said = message(bench.ensure(&other, 1).await);
    assert!(said.starts_with("the image is for linux/s390x, and this server is linux/"), "{said}");
    assert_eq!(bench.asked(), [digest_of(&other.encode())]);
}

#[tokio::test]
async fn an_engine_that_is_away_is_named_and_the_next_try_goes_on() {
    let mut bench = Bench::new().await;
    let image = bench.publish(&[content("base")]);
    let data = bench.bed.path().join("data");
    bench.bed.end();
    let said = message(bench.ensure(&image, 1).await);
    assert!(said.contains(&bench.bed.socket().display().to_string()), "{said}");
    bench.bed.restart(&data).await;
    bench.ready(&image, 1).await;
}

#[tokio::test]
async fn what_no_release_needs_goes_from_disk_and_engine() {
    let mut bench = Bench::new().await;
    let base = content("base");
    let (first, second) =
        (bench.publish(&[base.clone(), content("one")]), bench.publish(&[base, content("two")]));
    bench.ready(&first, 1).await;
    bench.ready(&second, 2).await;
    bench.releases.order(Order::Remove(key(1)));
    assert_eq!(bench.next().await, Event::ReleaseRemoved(key(1)));
    assert_eq!(bench.engine_has(1).await, None);
    assert_eq!(bench.engine_has(2).await, Some(second.id()));
    let artifacts = [digest_of(&second.encode())].into();
    bench.releases.hold(Some(Needs { artifacts, ..Needs::default() }));
    bench.releases.sweep();
    let gone = bench.whole(&first.layers()[1].packed);
    let waited = tokio::time::timeout(DEADLINE, async {
        while gone.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap();
    for layer in second.layers() {
        assert!(bench.whole(&layer.packed).exists(), "{layer:?} is needed");
    }
}

#[test]
fn a_disk_must_hold_what_comes_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let free = Disk::of(path).unwrap().free;
    assert!(check_disks(path, None, 1, 1).is_ok());
    assert!(check_disks(path, Some(path), free / 2, free / 2).is_err(), "both are one disk");
    assert!(check_disks(path, Some(Path::new("/nowhere/at/all")), 0, 0).is_ok());
    assert!(check_disks(path, Some(Path::new("/proc")), 0, 1).is_err(), "another disk, and a full one");
}
