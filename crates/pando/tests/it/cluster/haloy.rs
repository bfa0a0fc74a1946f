//! Files as users of Haloy have them, unchanged: each is deployed to the clusters that it names, with images of the names that it
//! has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::answer::told;
use crate::bed::Bed;
use crate::bed::registry::Registry;
use crate::bed::server::wait_until;
use crate::docker::image;

/// A server each, with a cluster of its own.
const SERVERS: [&str; 3] = ["prod", "staging", "dev"];

/// Whose control server is known under which addresses.
const ADDRESSES: [(&str, &str); 6] = [
    ("prod.haloy.com", "prod"),
    ("staging.haloy.com", "staging"),
    ("dev.haloy.com", "dev"),
    ("us-east.haloy.com", "prod"),
    ("eu-west.haloy.com", "staging"),
    ("ap-southeast.haloy.com", "dev"),
];

const IMAGES: [&str; 3] = ["my-org/my-app:1.2.0", "my-org/critical-app:v2.0.0", "my-org/api:v2.0.0"];

/// A target of a file (empty: it has none), which cluster that is, how many replicas, and which host is answered there.
type Target = (&'static str, &'static str, usize, &'static str);

/// What each file wants.
const FILES: [(&str, &[Target]); 7] = [
    ("basic", &[("", "prod", 3, "api.example.com")]),
    (
        "environments",
        &[
            ("production", "prod", 10, "my-app.com"),
            ("staging", "staging", 2, "staging.my-app.com"),
            ("development", "dev", 1, "dev.my-app.com"),
        ],
    ),
    ("high-availability", &[("", "prod", 3, "critical-app.com")]),
    ("readiness", &[("", "prod", 5, "")]),
    (
        "regions",
        &[
            ("us-east", "prod", 5, "us.api.example.com"),
            ("eu-west", "staging", 5, "eu.api.example.com"),
            ("asia-pacific", "dev", 5, "ap.api.example.com"),
        ],
    ),
    ("replace", &[("", "prod", 5, "")]),
    ("stateless", &[("", "prod", 10, "")]),
];

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pando-config/tests/fixtures/haloy")
}

#[test]
fn cluster_every_file_of_haloys_examples_is_deployed_as_it_is() {
    let bed = Bed::with_engines(&SERVERS);
    let registry = Registry::start(&bed);
    IMAGES.iter().for_each(|name| registry.put(&bed, &image::hits(), name));
    know_clusters(&bed);
    let mut names: Vec<String> = FILES.iter().map(|(name, _)| format!("{name}.yaml")).collect();
    let mut there: Vec<String> = fs::read_dir(examples())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    there.sort();
    assert_eq!(names, there, "every file is tried");
    for (name, targets) in FILES {
        fs::copy(examples().join(format!("{name}.yaml")), bed.project().join("pando.yaml")).unwrap();
        deploy(&bed, name, targets);
        targets.iter().for_each(|target| check(&bed, name, target));
    }
}

/// One cluster on each server, known on the first by the addresses of the files.
fn know_clusters(bed: &Bed) {
    let known = bed.path("config/pando/clusters");
    fs::create_dir_all(&known).unwrap();
    for server in &bed.servers {
        let address = server.address().to_string();
        server.ok(&[
            "cluster",
            "init",
            "--name",
            &server.name,
            "--private-ip",
            &address,
            "--role",
            "web",
            "--role",
            "control",
        ]);
        wait_until("its control plane answers", || server.pando(&["server", "ls"]).status.success());
        let token = server.ok(&["token", "create", "--scope", "admin"]);
        let context: Value = serde_json::from_str(&server.sh("cat /var/lib/pando/context.json")).unwrap();
        let url = context["url"].as_str().unwrap();
        for (host, _) in ADDRESSES.iter().filter(|(_, of)| *of == server.name) {
            let file = json!({"url": url.replace(&address, host), "token": token.trim()});
            fs::write(known.join(format!("{}.json", host.replace('.', "-"))), file.to_string()).unwrap();
            bed.servers[0].sh(&format!("echo '{address} {host}' >> /etc/hosts"));
        }
    }
}

fn pando(bed: &Bed, args: &[&str]) -> std::process::Output {
    bed.command(args).env("XDG_CONFIG_HOME", bed.path("config")).output().unwrap()
}

fn deploy(bed: &Bed, name: &str, targets: &[Target]) {
    let args: &[&str] = if targets.len() > 1 { &["deploy", "--all"] } else { &["deploy"] };
    let output = pando(bed, args);
    assert!(output.status.success(), "{name}.yaml: {}\n{}", told(&output), bed.logs());
    println!("{name}.yaml: {}", String::from_utf8_lossy(&output.stdout));
}

/// So many replicas serve in that cluster, as containers of the image of that name; visitors of the domain are answered.
fn check(bed: &Bed, name: &str, (target, cluster, replicas, host): &Target) {
    let mut args = vec!["status", "--json"];
    if !target.is_empty() {
        args.extend(["-t", target]);
    }
    let output = pando(bed, &args);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let serving = BTreeMap::from([((*cluster).to_owned(), *replicas)]);
    let process = status["processes"][0]["process"].as_str().unwrap_or_default().to_owned();
    assert_eq!(Bed::serving(&status, &process), serving, "{name}.yaml, {target}: {}", told(&output));
    let app = status["name"].as_str().unwrap();
    let server = bed.server(cluster);
    let filter = format!("label=pando.app={app}");
    // The last of those before may still be about to end.
    let running = || server.docker(&["ps", "-q", "--filter", &filter]).lines().count();
    wait_until(&format!("{name}.yaml, {target}: {replicas} run"), || running() == *replicas);
    if !host.is_empty() {
        let answer =
            server.sh(&format!("curl -sf -m 5 -H 'host: {host}' http://{}/hits.json", server.address()));
        assert!(answer.contains("hits"), "{name}.yaml, {host}: {answer}");
    }
}
