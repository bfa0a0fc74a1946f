//! Named volumes: whose they are, and that nothing in them is lost.

use std::collections::BTreeMap;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::RemoveVolumeOptions;
use pando_model::app::VolumeSpec;
use pando_runtime::docker::{Containers, OneOff, VolumeSeen, Within};
use pando_runtime::{ImagePlace, RunSpec, Runtime, StartError};

use super::bed::{Bed, IMAGE, SOCKET, make_image_as, on_a_thread, spec_in};

fn volume(source: &str, target: &str) -> VolumeSpec {
    VolumeSpec { source: source.to_owned(), target: target.to_owned(), read_only: false }
}

fn with(source: &str, command: &str) -> RunSpec {
    spec_in(ImagePlace { volumes: vec![volume(source, "/data")], ..ImagePlace::of(IMAGE) }, command)
}

async fn remove(bed: &Bed, name: &str) {
    let options = RemoveVolumeOptions { force: true };
    bed.docker().remove_volume(&format!("pando.shop.{name}"), Some(options)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_is_its_clusters_and_another_one_is_told_so() {
    let id = uuid::Uuid::now_v7().simple().to_string();
    let (mut ours, theirs) =
        (Bed::of_cluster(&format!("ours-{id}")), Bed::of_cluster(&format!("theirs-{id}")));
    let name = format!("uploads-{id}");
    let run = with(&name, "echo kept > /data/file");
    ours.start(&run).await;
    assert_eq!(ours.ended(run.key).await.code, Some(0));
    let refused = theirs.runtime.start(with(&name, "cat /data/file")).await.unwrap_err();
    let StartError::Refused { why, .. } = &refused else { panic!("{refused}") };
    assert!(
        why.contains(&format!("docker volume rm pando.shop.{name}")) && why.contains("_data:/data"),
        "{why}"
    );
    let image = ImagePlace { volumes: vec![volume(&name, "/data")], ..ImagePlace::of(IMAGE) };
    let within = Within::Image(Box::new(OneOff::of("shop".parse().unwrap(), image)));
    let command = (Containers::words("cat /data/file"), BTreeMap::new());
    let refused =
        theirs.runtime.containers().command(&within, command.0, &command.1, None).await.unwrap_err();
    assert!(refused.to_string().contains("another cluster"), "{refused}");
    // As long as a container has it, it is not left over; then its own cluster alone names it.
    assert_eq!(ours.runtime.containers().unused_volumes().await.unwrap(), []);
    ours.runtime.forget(run.key).await.unwrap();
    let seen = VolumeSeen { name: format!("pando.shop.{name}"), app: "shop".to_owned() };
    assert_eq!(ours.runtime.containers().unused_volumes().await.unwrap(), [seen]);
    assert_eq!(theirs.runtime.containers().unused_volumes().await.unwrap(), []);
    let again = with(&name, "cat /data/file");
    ours.start(&again).await;
    ours.ended(again.key).await;
    assert_eq!(ours.output("web-1").await, ["kept"]);
    ours.runtime.forget(again.key).await.unwrap();
    remove(&ours, &name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_says_nothing_is_taken_as_it_is() {
    let mut bed = Bed::new();
    let name = format!("old-{}", uuid::Uuid::now_v7().simple());
    let request = VolumeCreateRequest { name: Some(format!("pando.shop.{name}")), ..Default::default() };
    bed.docker().create_volume(request).await.unwrap();
    for command in ["echo one >> /data/file", "cat /data/file"] {
        let run = with(&name, command);
        bed.start(&run).await;
        assert_eq!(bed.ended(run.key).await.code, Some(0));
        bed.runtime.forget(run.key).await.unwrap();
    }
    assert_eq!(bed.output("web-1").await, ["one"]);
    remove(&bed, &name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_image_declares_and_nobody_mounts_is_known_and_said_in_the_log() {
    let mut bed = Bed::new();
    let image = "pando-test/declares:1";
    on_a_thread(make_image_as(SOCKET.into(), image, &["VOLUME /data", "VOLUME /other"]));
    let place = ImagePlace { volumes: vec![volume("/tmp", "/other")], ..ImagePlace::of(image) };
    let run = spec_in(place, "echo up; exec sleep 1000");
    assert_eq!(bed.start(&run).await.unmounted, ["/data"]);
    bed.prints("web-1", |output| output == ["up"]).await;
    // The next daemon knows it too, whether the engine answers it or not, and of what has ended.
    bed.reopen().await;
    assert_eq!(bed.runtime.adopt().await.unwrap()[0].unmounted, ["/data"]);
    bed.runtime.stop(run.key, pando_model::Millis(0)).await.unwrap();
    bed.ended(run.key).await;
    bed.reopen().await;
    let held = bed.runtime.adopt().await.unwrap();
    assert!(held[0].exit.is_some() && held[0].unmounted == ["/data"], "{held:?}");
    let printed = bed.printed("web-1").await;
    let told: Vec<&String> =
        printed.iter().map(|(_, text)| text).filter(|text| text.contains("declares")).collect();
    assert!(
        told.len() == 1 && told[0].contains("`/data`") && told[0].contains("\"data:/data\""),
        "{printed:?}"
    );
}
