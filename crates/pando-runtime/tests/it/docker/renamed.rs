//! Containers that somebody renamed: they are what they were, whatever they are called.

use std::collections::BTreeMap;

use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptions, RemoveContainerOptions, RenameContainerOptions,
};
use pando_runtime::Runtime;
use pando_runtime::docker::{Containers, Within};

use super::bed::{Bed, IMAGE, SOON, spec};
use crate::support::PATIENCE;

/// Names and states of this bed's containers.
async fn containers(bed: &Bed) -> Vec<(String, String)> {
    let label = format!("pando.owner={}", super::bed::owner(bed.root.path()));
    let options = ListContainersOptions {
        all: true,
        filters: Some([("label".to_owned(), vec![label])].into()),
        ..Default::default()
    };
    let listed = bed.docker().list_containers(Some(options)).await.unwrap();
    let told = listed.into_iter().map(|one| {
        let state = one.state.map(|state| state.to_string()).unwrap_or_default();
        (one.names.unwrap_or_default().concat(), state)
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_container_is_found_used_stopped_and_forgotten() {
    let mut bed = Bed::new();
    let run = spec("trap '' TERM; echo up; while true; do usleep 10000; done");
    let began = bed.start(&run).await;
    bed.prints("web-1", |output| output == ["up"]).await;
    let docker = bed.docker();
    let old = containers(&bed).await[0].0.trim_start_matches('/').to_owned();
    let name = format!("renamed-{}", run.key.id);
    docker.rename_container(&old, RenameContainerOptions { name: name.clone() }).await.unwrap();
    // Its name is another's now, who is left alone.
    let foreign = bollard::models::ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(vec!["sleep".to_owned(), "1000".to_owned()]),
        ..Default::default()
    };
    let options = CreateContainerOptions { name: Some(old.clone()), platform: String::new() };
    let foreign = docker.create_container(Some(options), foreign).await.unwrap().id;
    docker.start_container(&foreign, None::<bollard::query_parameters::StartContainerOptions>).await.unwrap();

    bed.reopen().await;
    let held = bed.runtime.adopt().await.unwrap();
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!((held[0].pid, &held[0].exit), (began.pid, &None));
    assert_eq!(bed.start(&run).await.pid, began.pid, "it is not started a second time");
    assert_eq!(containers(&bed).await, [(format!("/{name}"), "running".to_owned())]);
    let (command, _input, mut output) = bed
        .runtime
        .containers()
        .command(&Within::Run(run.key), Containers::words("cat /proc/1/cmdline"), &BTreeMap::new(), None)
        .await
        .unwrap();
    let said = tokio::time::timeout(PATIENCE, output.next()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&said.bytes).contains("echo up"), "{said:?}");
    command.close().await;

    bed.runtime.stop(run.key, SOON).await.unwrap();
    assert_eq!(bed.ended(run.key).await.signal, Some(9), "the stop reached it, and so did SIGKILL");
    bed.runtime.forget(run.key).await.unwrap();
    assert_eq!(containers(&bed).await, []);
    let there = docker.inspect_container(&foreign, None).await.unwrap();
    assert_eq!(there.state.unwrap().running, Some(true), "nobody else's container is touched");
    let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
    docker.remove_container(&foreign, Some(options)).await.unwrap();
}
