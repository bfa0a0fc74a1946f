//! What it costs to bring an image of 200 MB to one, three and ten servers: first, after a change of one line, and with nothing
//! changed; beside `docker save` into `docker load`, and a registry.
//!
//! Whole programs on servers that are network namespaces with engines of their own,
//! as in the tests. Needs root. Printed and written to `bench/results/images.md`. Run
//! by `script/bench images`.

#![allow(clippy::unwrap_used, reason = "a measurement that can't go on ends")]
#![allow(dead_code, reason = "the test bed can do more than is measured")]

#[path = "../../tests/it/answer.rs"]
mod answer;
#[path = "../../tests/it/bed/mod.rs"]
mod bed;
#[path = "../../tests/it/docker/image.rs"]
mod image;
#[path = "../../tests/it/e2e/load.rs"]
mod load;
mod others;
mod report;
mod subject;

/// What the test bed uses of the other tests.
mod e2e {
    pub(crate) use crate::load;

    pub(crate) mod bed {
        use std::path::{Path, PathBuf};

        /// SIGKILL to a process that this run started.
        pub(crate) fn kill(pid: u32) {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }

        pub(crate) fn hits_binary() -> PathBuf {
            let beside = Path::new(env!("CARGO_BIN_EXE_pando")).with_file_name("hits");
            assert!(beside.exists(), "build it first: cargo build --release -p hits");
            beside
        }
    }
}

use std::time::{Duration, Instant};

use bed::Bed;
use bed::app::App;
use bed::server::Kind;
use subject::Subject;

const SERVERS: [usize; 3] = [1, 3, 10];

/// The image three times: in the engine, in the archive that is loaded, and packed.
const ROOMY: Kind = Kind { disk: 2048, engine: true };

/// One way to the servers, measured once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// From the machine that deploys.
    pub(crate) bytes: u64,
    /// Until whoever deploys has nothing more to do.
    pub(crate) brought: Duration,
    /// Until every server has it; with Pando, until the new replicas serve and the old ones are gone.
    pub(crate) everywhere: Duration,
}

/// First, after a change of one line, and with nothing changed.
pub(crate) type Costs = [Cost; 3];

fn main() {
    let subject = Subject::make();
    let mut rows = Vec::new();
    for servers in SERVERS {
        rows.push(("`pando deploy`", servers, pando(&subject, servers)));
        rows.push((
            "`docker save` into `docker load`, to each server",
            servers,
            others::save_and_load(&subject, servers),
        ));
        rows.push((
            "a registry: `docker push`, `docker pull` on all servers at once",
            servers,
            others::registry(&subject, servers),
        ));
    }
    report::write(&subject, &rows);
}

/// Names of servers beside the first, which stays without replicas.
pub(crate) fn names(servers: usize) -> Vec<String> {
    (1..=servers).map(|number| format!("app-{number}")).collect()
}

fn pando(subject: &Subject, servers: usize) -> Costs {
    let mut bed = Bed::of(&["main"]);
    let names = names(servers);
    names.iter().for_each(|name| bed.add_kind(name, ROOMY));
    bed.found_as(&["control"]);
    names.iter().for_each(|name| bed.join(name, &["web"]));
    let desk = bed.desk();
    [subject.first(), subject.changed(), subject.changed()].map(|name| {
        let lines = format!("image: {{repository: {name}, pull_policy: never}}");
        bed.write(&App { web: "per_server: 1".to_owned(), ..App::of_image(&lines) });
        let (before, start) = (desk.sent(), Instant::now());
        desk.ok(&bed, &["deploy", "--detach"]);
        let brought = start.elapsed();
        let bytes = desk.sent() - before;
        let wanted: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        bed.wait_spread("web", &wanted, 300);
        Cost { bytes, brought, everywhere: start.elapsed() }
    })
}
