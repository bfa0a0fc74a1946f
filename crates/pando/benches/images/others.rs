//! The same image by other means, to fresh servers.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::bed::Bed;
use crate::bed::registry::{PORT, Registry};
use crate::subject::Subject;
use crate::{Cost, Costs, ROOMY, names};

fn steps(subject: &Subject) -> [&str; 3] {
    [subject.first(), subject.changed(), subject.changed()]
}

/// One server after the other, as by hand; without the cost of SSH.
pub(crate) fn save_and_load(subject: &Subject, servers: usize) -> Costs {
    let names = names(servers);
    let bed = Bed::of_kind(&names.iter().map(String::as_str).collect::<Vec<_>>(), ROOMY);
    steps(subject).map(|image| {
        let start = Instant::now();
        let bytes = names.iter().map(|name| pipe(&bed, name, image)).sum();
        Cost { bytes, brought: start.elapsed(), everywhere: start.elapsed() }
    })
}

/// How many bytes went through.
fn pipe(bed: &Bed, server: &str, image: &str) -> u64 {
    let count = bed.path("count");
    let line = format!("docker save {image} | tee >(wc -c > {})", count.display());
    let mut save = Command::new("bash").args(["-c", &line]).stdout(Stdio::piped()).spawn().unwrap();
    let mut load = bed.server(server).command(Path::new("docker"), Path::new("/"));
    let loaded = load.args(["load", "--quiet"]).stdin(save.stdout.take().unwrap()).output().unwrap();
    assert!(save.wait().unwrap().success() && loaded.status.success(), "{loaded:?}");
    let deadline = Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let counted = std::fs::read_to_string(&count).unwrap_or_default();
        if let Ok(bytes) = counted.trim().parse() {
            std::fs::remove_file(&count).unwrap();
            return bytes;
        }
        assert!(Instant::now() < deadline, "nothing was counted");
    }
}

/// A fourth kind of machine has the image and pushes it; the registry is on the same network.
pub(crate) fn registry(subject: &Subject, servers: usize) -> Costs {
    let names = names(servers);
    let all: Vec<&str> = ["desk"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let bed = Bed::of_kind(&all, ROOMY);
    let registry = Registry::start(&bed);
    let there = format!("{}:{PORT}/subject", bed.server("desk").link.gateway);
    let costs = steps(subject).map(|image| {
        let desk = bed.server("desk");
        desk.load_image(image);
        desk.docker(&["tag", image, &there]);
        let (before, start) = (bed.sent_by("desk"), Instant::now());
        desk.docker(&["push", "--quiet", &there]);
        let (bytes, brought) = (bed.sent_by("desk") - before, start.elapsed());
        let pulls: Vec<Child> = names.iter().map(|name| pull(&bed, name, &there)).collect();
        pulls.into_iter().for_each(|mut pull| assert!(pull.wait().unwrap().success()));
        Cost { bytes, brought, everywhere: start.elapsed() }
    });
    drop(registry);
    costs
}

fn pull(bed: &Bed, server: &str, image: &str) -> Child {
    let mut command = bed.server(server).command(Path::new("docker"), Path::new("/"));
    command.args(["pull", "--quiet", image]).stdout(Stdio::null()).spawn().unwrap()
}
