//! One file to two real clusters: what fails on one is nothing to the other, nor to its visitors.

use std::fs;
use std::process::Output;

use serde_json::Value;

use super::bed::{Bed, Settings};
use super::load::Load;
use crate::answer::told;

/// A project that runs nowhere itself, and knows both clusters by name.
struct Project {
    bed: Bed,
}

impl Project {
    fn new(clusters: [(&str, &Bed); 2]) -> Self {
        let bed = Bed::prepare(Settings::default());
        let known = bed.path("config/pando/clusters");
        fs::create_dir_all(&known).unwrap();
        for (name, cluster) in clusters {
            fs::copy(cluster.path(".pando/context.json"), known.join(format!("{name}.json"))).unwrap();
        }
        Self { bed }
    }

    /// The next edition, with this mode of the app on each cluster.
    fn write(&mut self, east: &str, west: &str) {
        let target = |name: &str, mode: &str| {
            let database = self.bed.path(&format!("{name}.db"));
            format!(
                "  {name}: {{cluster: {name}, replicas: 2, env: [{{name: HITS_MODE, value: {mode}}}, {{name: HITS_DB, value: \"{}\"}}]}}\n",
                database.display()
            )
        };
        let targets = format!("targets:\n{}{}", target("east", east), target("west", west));
        self.bed.change(|settings| settings.extra = targets);
        fs::write(self.bed.path(".pandoignore"), "*.db*\nconfig/\n").unwrap();
    }

    fn pando(&self, args: &[&str]) -> Output {
        self.bed.command(args).env("XDG_CONFIG_HOME", self.bed.path("config")).output().unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The digest of what it runs.
fn current_artifact(bed: &Bed) -> String {
    let list = bed.json(&["releases"]);
    let current = list["releases"].as_array().unwrap().iter().find(|release| release["current"] == true);
    current.unwrap()["artifact"].as_str().unwrap().to_owned()
}

#[test]
fn e2e_one_file_to_two_clusters_of_which_one_fails() {
    let settings = Settings { replicas: 2, ..Settings::default() };
    let (east, west) = (Bed::up(settings.clone()), Bed::up(settings));
    let mut project = Project::new([("east", &east), ("west", &west)]);
    let loads = [Load::start(&east.address(), 2), Load::start(&west.address(), 2)];

    project.write("ok", "crash");
    let deployed = project.pando(&["deploy", "--all"]);
    assert_eq!(deployed.status.code(), Some(1), "{}", told(&deployed));
    let table = stdout(&deployed);
    let rows: Vec<&str> = table.lines().skip(1).collect();
    assert!(rows[0].starts_with("east    east     v2       live    "), "{table}");
    assert!(
        rows[1].starts_with("west    west     v2       failed  ") && rows[1].contains("exit code 1"),
        "{table}"
    );
    assert_eq!((east.release(), west.release()), (2, 1));

    project.write("crash", "ok");
    let deployed = project.pando(&["deploy", "-t", "west", "-t", "east", "--parallel", "--json"]);
    assert_eq!(deployed.status.code(), Some(1), "{}", told(&deployed));
    let list: Value = serde_json::from_str(&stdout(&deployed)).unwrap();
    let of =
        |index: usize| (list[index]["target"].as_str().unwrap(), list[index]["result"].as_str().unwrap());
    assert_eq!([of(0), of(1)], [("west", "live"), ("east", "failed")], "{list}");
    assert_eq!(list[0]["traffic"]["failed"], 0, "{list}");
    assert!(list[0]["traffic"]["requests"].as_u64().unwrap() > 0, "{list}");
    assert_eq!((east.release(), west.release()), (2, 3));

    project.write("ok", "ok");
    let deployed = project.pando(&["deploy", "--all", "--parallel"]);
    assert!(deployed.status.success(), "{}", told(&deployed));
    assert_eq!(current_artifact(&east), current_artifact(&west), "both have what was packed once");
    for (bed, load) in [&east, &west].into_iter().zip(loads) {
        bed.wait_until_settled(2);
        println!("{} requests, 0 failed", load.stop_flawless());
    }

    west.ok(&["dev", "--stop"]);
    let deployed = project.pando(&["deploy", "-t", "west,east"]);
    let table = stdout(&deployed);
    assert_eq!(deployed.status.code(), Some(3), "{}", told(&deployed));
    assert!(table.contains("unreachable") && table.contains("v5       live"), "{table}");
    assert_eq!(east.release(), 5);
}
