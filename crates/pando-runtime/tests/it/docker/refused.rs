//! Starts that can't be: told in words, and nothing is left of them.

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptions, InspectContainerOptions, RemoveContainerOptions};
use pando_model::app::VolumeSpec;
use pando_runtime::docker::{DockerRuntime, Engine};
use pando_runtime::{ImagePlace, RunSpec, Runtime};

use super::bed::{Bed, IMAGE, settings, spec, spec_in};

async fn refused(bed: &Bed, spec: &RunSpec) -> String {
    let error = bed.runtime.start(spec.clone()).await.unwrap_err();
    assert!(bed.runtime.adopt().await.unwrap().is_empty(), "{error}: something is left");
    let left = std::fs::read_dir(bed.root.path().join("containers")).unwrap();
    let left: Vec<String> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left, ["owner"], "{error}");
    pando_rt::error_chain::error_chain(&error)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_with_its_remedy() {
    let bed = Bed::new();
    let missing_path =
        VolumeSpec { source: "/nowhere/at/all".into(), target: "/data".into(), read_only: false };
    let image = ImagePlace { volumes: vec![missing_path], ..ImagePlace::of(IMAGE) };
    for (run, said) in [
        (spec_in(ImagePlace::of("pando-test/none:7"), ""), "engine has no image `pando-test/none:7`"),
        (spec("bin/nothing"), "no program named `bin/nothing` in the image"),
        (spec("/bin/not-executable"), "may not be executed (`chmod +x`)"),
        (spec_in(image, "sleep 1"), "is not on this server; make it first"),
        (RunSpec { name: "../x".into(), ..spec("sleep 1") }, "can't be the name of a log"),
        (RunSpec { user: Some("nobody-knows".into()), ..spec("sleep 1") }, "nobody-knows"),
    ] {
        let told = refused(&bed, &run).await;
        assert!(told.contains(said), "{told}");
    }
}

/// A container that somebody else made is neither taken over nor touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_container_of_the_same_name_stays() {
    let bed = Bed::new();
    let run = spec("sleep 1000");
    let id = run.key.id.simple().to_string();
    let name = format!("pando-shop-web-1-{}.0", &id[20..]);
    let docker = bed.docker();
    let options = CreateContainerOptions { name: Some(name.clone()), platform: String::new() };
    let body =
        ContainerCreateBody { image: Some(IMAGE.into()), cmd: Some(vec!["sh".into()]), ..Default::default() };
    let theirs = docker.create_container(Some(options), body).await.unwrap().id;
    let told = refused(&bed, &run).await;
    assert!(told.contains("not Pando's has its name; remove or rename"), "{told}");
    let found = docker.inspect_container(&name, None::<InspectContainerOptions>).await.unwrap();
    assert_eq!(found.id, Some(theirs.clone()));
    docker.remove_container(&theirs, None::<RemoveContainerOptions>).await.unwrap();
    bed.start(&run).await;
}

/// Two state directories on one engine see nothing of each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_daemons_on_the_engine_are_left_alone() {
    let (mine, theirs) = (Bed::new(), Bed::new());
    let held = theirs.start(&spec("sleep 1000")).await;
    mine.start(&spec("sleep 1000")).await;
    assert_eq!(mine.runtime.adopt().await.unwrap().len(), 1);
    assert_eq!(theirs.runtime.adopt().await.unwrap(), [held]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_an_engine_says_so_only_when_it_is_needed() {
    let root = tempfile::tempdir().unwrap();
    let socket = root.path().join("none.sock");
    let shutdown = pando_rt::shutdown::Shutdown::new();
    let runtime = DockerRuntime::open(settings(root.path(), &socket, "of-tests"), &shutdown).unwrap();
    assert!(runtime.adopt().await.unwrap().is_empty());
    assert!(runtime.warnings().is_empty());
    let error = runtime.start(spec("sleep 1000")).await.unwrap_err();
    let told = pando_rt::error_chain::error_chain(&error);
    assert!(told.contains("none.sock") && told.contains("is a container engine installed"), "{told}");
    assert!(runtime.adopt().await.unwrap().is_empty());
    assert_eq!(Engine::at(&socket).away(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_ports_and_volumes_are_as_asked() {
    let mut bed = Bed::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let volume = VolumeSpec { source: "data".into(), target: "/data".into(), read_only: false };
    let image =
        ImagePlace { container_port: Some(8080), volumes: vec![volume.clone()], ..ImagePlace::of(IMAGE) };
    let app: pando_model::AppName =
        format!("t{}", &uuid::Uuid::now_v7().simple().to_string()[20..]).parse().unwrap();
    let serve = "echo kept > /data/index.html; httpd -f -p $PORT -h /data";
    let mut run = RunSpec { app: app.clone(), port: Some(address), ..spec_in(image.clone(), serve) };
    run.env.insert("PORT".into(), "8080".into());
    bed.start(&run).await;
    crate::support::until("it serves", || answer(address).is_some_and(|answer| answer.contains("kept")))
        .await;
    let listed = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X} ", address.port());
    let open: Vec<&str> =
        listed.lines().filter(|line| line.contains(&port) && line.contains(" 0A ")).collect();
    assert!(open.iter().all(|line| line.contains("0100007F")), "it listens elsewhere too: {open:?}");
    bed.runtime.stop(run.key, pando_model::Millis::ZERO).await.unwrap();
    bed.ended(run.key).await;
    let image =
        ImagePlace { volumes: vec![VolumeSpec { read_only: true, ..volume }], ..ImagePlace::of(IMAGE) };
    let again = RunSpec {
        app: app.clone(),
        ..spec_in(image, "cat /data/index.html; touch /data/x || echo read-only")
    };
    bed.start(&again).await;
    let last = bed.ended(again.key).await.last_lines;
    // What came first is nobody's to say where one line went to stdout and the other to stderr.
    let said = |line: &str| last.iter().any(|last| last == line);
    assert!(said("kept") && said("read-only"), "{last:?}");
    for key in [run.key, again.key] {
        bed.runtime.forget(key).await.unwrap();
    }
    let docker = bed.docker();
    docker
        .remove_volume(&format!("pando.{app}.data"), None::<bollard::query_parameters::RemoveVolumeOptions>)
        .await
        .unwrap();
}

fn answer(address: std::net::SocketAddr) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}
