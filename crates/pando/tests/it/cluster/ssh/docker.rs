//! `--install-docker`: a machine without an engine gets one from its distribution's packages.
//!
//! apt-get and dpkg are the machine's own. What they find is a directory of
//! packages with one in it: `docker.io`, made of this machine's engine.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Door;
use crate::answer::told;
use crate::bed::app::App;
use crate::bed::server::{Server, wait_until};
use crate::bed::{Bed, must};
use crate::docker::image;

/// Where packages lie, as the machine's apt-get reads and writes it, so that all of it is the server's own; and nothing of the
/// machine's engine is there.
const WITHOUT_ENGINE: &str = r#"
set -e
for place in /usr /var/lib/dpkg /var/lib/apt /var/cache/apt; do
    mkdir -p "$1/over$place" "$1/work$place"
    mount -t overlay -o "lowerdir=$place,upperdir=$1/over$place,workdir=$1/work$place" overlay "$place"
done
mount -t tmpfs tmpfs /var/log
for program in docker dockerd; do
    while path=$(command -v $program); do rm "$path"; hash -r; done
done
rm -f /etc/init.d/docker /var/lib/dpkg/info/docker.io.*
awk 'BEGIN { RS = ""; ORS = "\n\n" } !/^Package: docker.io\n/' /var/lib/dpkg/status > /var/lib/dpkg/status.new
mv /var/lib/dpkg/status.new /var/lib/dpkg/status
rm -rf /etc/apt/sources.list.d/* /var/lib/apt/lists/*
echo 'APT::Sandbox::User "root"; Acquire::Retries "0";' > /etc/apt/apt.conf.d/99-test
"#;

/// As a package of a distribution brings it, for a machine without systemd.
const INIT_SCRIPT: &str = r#"#!/bin/sh
[ "$1" = start ] || exit 3
. /etc/default/docker
start-stop-daemon --start --oknodo --background --make-pidfile --pidfile /run/docker-ssd.pid --exec /usr/sbin/dockerd -- $DOCKER_OPTS
"#;

/// A door to a server that has no engine, and had one.
fn open() -> Door {
    let mut bed = Bed::of(&["main"]);
    bed.add_kind("app-2", crate::bed::engine::WITH_ENGINE);
    let server = bed.server("app-2");
    pack(&bed.path("packages"));
    server.signal_engine(rustix::process::Signal::TERM);
    wait_until("its engine has ended", || server.sh("pidof dockerd || true").is_empty());
    server.sh("pkill -x containerd; rm -f /run/docker.sock");
    let mut hide = server.command(Path::new("bash"), Path::new("/"));
    let hidden = hide.args(["-c", WITHOUT_ENGINE, "hide"]).arg(bed.path("disks/app-2")).output().unwrap();
    assert!(hidden.status.success(), "{}", told(&hidden));
    let options = format!(
        "--data-root={0}/installed --cgroup-parent=/{1}",
        bed.path("disks/app-2").display(),
        server.link.namespace
    );
    server.sh(&format!("echo 'DOCKER_OPTS=\"{options}\"' > /etc/default/docker"));
    bed.found_as(&["control"]);
    Door::of(bed, "ada ALL=(ALL) NOPASSWD: ALL")
}

/// The package, and what a mirror says of it.
fn pack(packages: &Path) {
    let root = packages.join("root");
    for dir in ["DEBIAN", "usr/sbin", "usr/bin", "etc/init.d"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let control = "Package: docker.io\nVersion: 99\nArchitecture: all\nMaintainer: Nobody <nobody@example.com>\nDescription: An engine\n";
    fs::write(root.join("DEBIAN/control"), control).unwrap();
    fs::write(root.join("etc/init.d/docker"), INIT_SCRIPT).unwrap();
    must("chmod", &["755", &root.join("etc/init.d/docker").to_string_lossy()]);
    for (program, place) in [("dockerd", "usr/sbin"), ("docker", "usr/bin")] {
        let line = format!("cp \"$(command -v {program})\" {}", root.join(place).display());
        must("sh", &["-c", &line]);
    }
    let (root, file) = (root.to_string_lossy().into_owned(), packages.join("docker.io.deb"));
    must("dpkg-deb", &["--root-owner-group", "-Znone", "--build", &root, &file.to_string_lossy()]);
    let told = Command::new("sha256sum").arg(&file).output().unwrap();
    let digest = String::from_utf8(told.stdout).unwrap()[..64].to_owned();
    let size = fs::metadata(&file).unwrap().len();
    let listed = format!("{control}Filename: ./docker.io.deb\nSize: {size}\nSHA256: {digest}\n");
    fs::write(packages.join("Packages"), listed).unwrap();
    fs::remove_dir_all(root).unwrap();
}

/// Where apt-get of the server finds packages from now on.
fn set_sources(server: &Server, line: &str) {
    server.sh(&format!("echo '{line}' > /etc/apt/sources.list"));
}

const DOCKER: &[&str] = &["ada@app-2", "--role", "web", "--install-docker"];

#[test]
fn cluster_a_machine_without_an_engine_gets_one_before_it_joins() {
    let door = open();
    let (bed, server) = (&door.bed, door.bed.server("app-2"));
    let nothing = bed.path("nothing");
    fs::create_dir_all(&nothing).unwrap();
    fs::write(nothing.join("Packages"), "").unwrap();

    // Nobody answers at a mirror, and one that has no engine: nothing joins.
    set_sources(server, "deb [trusted=yes] http://127.0.0.1:9/ ./");
    door.check_refused(DOCKER, 1, "apt-get can't reach its mirrors for Docker's engine");
    set_sources(server, &format!("deb [trusted=yes] file:{} ./", nothing.display()));
    door.check_refused(DOCKER, 1, "apt-get knows no package of Docker's engine");
    assert_eq!(bed.json(&["server", "ls"])["servers"].as_array().unwrap().len(), 1);

    set_sources(server, &format!("deb [trusted=yes] file:{} ./", bed.path("packages").display()));
    let dry = door.add(&[DOCKER, &["--dry-run"]].concat());
    let steps = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(steps.contains("install Docker's engine by apt-get, and start it"), "{}", told(&dry));
    let output = door.add(DOCKER);
    assert!(output.status.success(), "{}\n{}", told(&output), server.sh("cat /var/log/apt/term.log || true"));
    assert!(told(&output).contains("installed Docker's engine by apt-get"), "{}", told(&output));
    assert!(server.sh("dpkg -s docker.io").contains("Version: 99"));

    // It runs containers.
    let desk = bed.desk();
    let _left = image::Left::by(&bed.path(""));
    let mut app = App::of_image(&format!("image: {{repository: {}, pull_policy: never}}", image::hits()));
    app.web = "replicas: 1".to_owned();
    bed.write(&app);
    desk.ok(bed, &["deploy"]);
    bed.wait_spread("web", &[("app-2", 1)], 30);
    assert_eq!(server.containers().len(), 1);

    // Again, on a server of the cluster: it stays as it is, and what stopped is started.
    let again = door.add(DOCKER);
    assert!(told(&again).contains("Docker's engine answers already"), "{}", told(&again));
    assert_eq!(server.containers().len(), 1);
}
