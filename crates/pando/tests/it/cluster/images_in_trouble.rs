//! What bad luck does to images on their way to several servers: a clear word, nothing half-switched, and the old release serves.

use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::answer::told;
use crate::bed::Bed;
use crate::bed::app::App;
use crate::bed::desk::Desk;
use crate::bed::running::Running;
use crate::docker::image;
use crate::e2e::load::Load;

const BOTH: [(&str, usize); 2] = [("main", 1), ("app-2", 1)];
const STORED: &str = "/var/lib/pando/artifacts/*.layer.zst";
const FETCHED: &str = "/var/lib/pando/releases/.fetched";

/// Two servers on which a good release serves, under load.
struct Story {
    bed: Bed,
    desk: Desk,
    app: App,
    loads: Vec<(String, Load)>,
}

impl Story {
    fn begin() -> Self {
        let bed = Bed::with_engines(&["main", "app-2"]);
        bed.found();
        bed.join("app-2", &["web"]);
        let desk = bed.desk();
        let app = App { web: "per_server: 1".to_owned(), ..App::of_image(&never(&image::hits())) };
        bed.write(&app);
        desk.ok(&bed, &["deploy"]);
        bed.wait_spread("web", &BOTH, 60);
        let loads = bed.loads(&["main", "app-2"]);
        Self { bed, desk, app, loads }
    }

    /// The next release is this image.
    fn write(&mut self, image: &str) {
        self.app.image = never(image);
        self.bed.write(self.app.next());
    }

    fn deploy(&self) -> Output {
        self.desk.pando(&self.bed, &["deploy"])
    }

    fn begin_deploy(&self) -> Running {
        Running::start(self.desk.command(&self.bed, &["deploy"]), &["deploy"])
    }

    /// The deployment failed with these words, and what served before serves.
    #[track_caller]
    fn check_failed(&self, output: &Output, code: i32, words: &[&str], release: u64) {
        let said = told(output);
        let all = words.iter().all(|word| said.contains(word));
        assert!(output.status.code() == Some(code) && all, "{words:?}: {said}\n{}", self.bed.logs());
        let settled = self.bed.wait_spread("web", &BOTH, 30);
        assert_eq!(settled["release"], release, "{settled}");
    }

    /// A good image is deployed as ever; nobody noticed anything.
    #[track_caller]
    fn end_well(mut self) {
        self.write(&image::hits());
        self.desk.ok(&self.bed, &["deploy"]);
        self.bed.wait_spread("web", &BOTH, 30);
        for (name, load) in self.loads {
            load.stop().check(&format!("through {name}"), 0);
        }
    }
}

fn never(image: &str) -> String {
    format!("image: {{repository: {image}, pull_policy: never}}")
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn cluster_an_image_of_another_processor_or_without_its_program_changes_nothing() {
    let mut story = Story::begin();
    let foreign = image::for_another_processor("foreign");
    story.write(foreign.name());
    let before = story.desk.sent();
    let refused = story.deploy();
    let asked = story.desk.sent() - before;
    story.check_failed(&refused, 2, &["for linux/arm64", "main is linux/amd64"], 1);
    assert!(asked < 100_000, "it is refused before it is sent: {asked} bytes");
    let empty = image::built("empty", &["ENTRYPOINT [\"/bin/nothing-such\"]"]);
    story.write(empty.name());
    let failed = story.deploy();
    story.check_failed(&failed, 1, &["no program named `/bin/nothing-such` in the image"], 1);
    story.end_well();
}

/// Between servers, and at the control plane: what is damaged is never started, and is fetched from whoever has it whole.
#[test]
fn cluster_a_layer_that_is_damaged_on_some_disk_is_fetched_from_another() {
    let mut story = Story::begin();
    let image = image::with_noise("damaged", 4);
    story.write(image.name());
    story.desk.ok(&story.bed, &["deploy"]);
    story.bed.server("app-2").damage(&format!("{FETCHED}/*"));
    add_server(&mut story, "app-3");
    story.bed.wait_spread("web", &[("main", 1), ("app-2", 1), ("app-3", 1)], 60);
    // Now nobody has it whole but the engines, and the person who sends it once more.
    for server in ["main", "app-2", "app-3"] {
        story.bed.server(server).damage(&format!("{FETCHED}/* {STORED}"));
    }
    add_server(&mut story, "app-4");
    story.bed.wait_for(&["status"], "a word on what is missing", 60, |status| {
        let waits = status["waiting_on"].to_string();
        waits.contains("to be brought to app-4")
            && (waits.contains("damaged") || waits.contains("there is no"))
    });
    let log = || story.bed.server("main").daemon_log();
    wait("the control plane finds the damage", || log().contains("was damaged on this disk, and is removed"));
    wait("and looks at the rest", || log().contains("after damage was found"));
    // All that is missing is sent by the next deploy.
    story.write(image.name());
    story.desk.ok(&story.bed, &["deploy"]);
    story.bed.wait_spread("web", &[("main", 1), ("app-2", 1), ("app-3", 1), ("app-4", 1)], 60);
    for (name, load) in story.loads {
        load.stop().check(&format!("through {name}"), 0);
    }
}

fn add_server(story: &mut Story, name: &str) {
    story.bed.add_kind(name, crate::bed::engine::WITH_ENGINE);
    story.bed.join(name, &["web"]);
}

/// The cable of the control server is pulled when nine tenths have gone out, that of a server when nine tenths have come in; the
/// rest goes on.
#[test]
fn cluster_a_cable_that_is_cut_near_the_end_costs_little() {
    let mut story = Story::begin();
    let image = image::with_noise("cut", 30);
    story.write(image.name());
    story.desk.limit_sending(20);
    // Slow enough to be told of on the way.
    story.bed.server("main").limit_sending(5);
    let before = story.desk.sent();
    let deploy = story.begin_deploy();
    wait("nine tenths sent", || story.desk.sent() - before > 27_000_000);
    story.bed.server("main").link.set_plugged(false);
    std::thread::sleep(Duration::from_secs(3));
    story.bed.server("main").link.set_plugged(true);
    let stored =
        || story.bed.server("main").sh(&format!("cat {STORED} | wc -c")).trim().parse::<u64>().unwrap();
    wait("the control plane has it", || stored() > 30_000_000);
    let sent = story.desk.sent() - before;
    wait("word of how far it is", || {
        let status = story.bed.json(&["status"]);
        let far = |line: &serde_json::Value| {
            line.as_str().is_some_and(|line| line.contains(" on app-2: fetched ") && line.contains(" of 30"))
        };
        status["waiting_on"].as_array().is_some_and(|lines| lines.iter().any(far))
    });
    wait("nine tenths fetched", || story.bed.server("main").handed_out() > 27_000_000);
    story.bed.server("app-2").link.set_plugged(false);
    std::thread::sleep(Duration::from_secs(3));
    story.bed.server("app-2").link.set_plugged(true);
    deploy.end_well(&story.bed, 90);
    let handed = story.bed.server("main").handed_out();
    println!("of 30 MB the desk sent {sent} bytes, the control plane {handed}");
    assert!(sent < 33_000_000 && handed < 33_000_000, "{sent}, {handed}");
    story.bed.wait_spread("web", &BOTH, 30);
}

/// Before anything is sent, and in the middle of unpacking.
#[test]
fn cluster_a_disk_without_room_for_an_image_fails_the_deploy_alone() {
    let mut story = Story::begin();
    let image = image::with_noise("large", 150);
    story.write(image.name());
    story.bed.server("app-2").fill_disk(300_000);
    let before = story.desk.sent();
    let refused = story.deploy();
    let asked = story.desk.sent() - before;
    story.check_failed(&refused, 4, &["app-2", "not enough room for the image"], 1);
    assert!(asked < 100_000, "it is refused before it is sent: {asked} bytes");
    story.bed.server("app-2").free_disk();

    let deploy = story.begin_deploy();
    let app_2 = story.bed.server("app-2");
    wait("app-2 loads it", || app_2.is_loading());
    app_2.signal_engine(Signal::STOP);
    app_2.fill_disk_up();
    app_2.signal_engine(Signal::CONT);
    let failed = deploy.end(&story.bed, 120);
    story.check_failed(&failed, 1, &["app-2", "no space left"], 1);
    story.bed.server("app-2").free_disk();
    story.end_well();
}

/// Its answers come late, and then not as long as the deploy waits for them.
#[test]
fn cluster_an_engine_that_stands_still_holds_up_its_deploy_and_nothing_else() {
    let mut story = Story::begin();
    story.write(&image::hits());
    story.bed.server("app-2").signal_engine(Signal::STOP);
    let start = Instant::now();
    let deploy = story.begin_deploy();
    // Any wait that is not given up; the load goes on meanwhile.
    story.loads[1].1.wait_for_requests(1000);
    story.bed.server("app-2").signal_engine(Signal::CONT);
    deploy.end_well(&story.bed, 60);
    println!("a deploy beside an engine that stood still: {} ms", start.elapsed().as_millis());

    story.write(&image::hits());
    story.bed.server("app-2").signal_engine(Signal::STOP);
    let start = Instant::now();
    let failed = story.begin_deploy().end(&story.bed, 120);
    println!("given up after {} ms", start.elapsed().as_millis());
    story.check_failed(&failed, 1, &["app-2", "the container engine"], 2);
    story.bed.server("app-2").signal_engine(Signal::CONT);
    story.end_well();
}

/// Only a name that will be given can be taken, and that of a next start can be known.
#[test]
fn cluster_somebody_elses_container_with_a_name_of_ours_stays() {
    let story = Story::begin();
    let server = story.bed.server("app-2");
    let id = server.containers().remove(0);
    let name = server.docker(&["inspect", "--format", "{{.Name}}", &id]);
    let next = name.trim().trim_start_matches('/').replace(".0", ".1");
    server.docker(&["create", "--name", &next, image_here(&story).as_str()]);
    server.docker(&["kill", &id]);
    let status = story.bed.wait_for(&["status"], "a word on the name", 30, |status| {
        status.to_string().contains("a container that is not Pando's has its name")
    });
    println!("{status}");
    server.docker(&["inspect", &next]);
    server.docker(&["rm", &next]);
    story.bed.wait_spread("web", &BOTH, 60);
    for (name, load) in story.loads {
        // What was under way in the one that was killed.
        load.stop().check(&format!("through {name}"), 2);
    }
}

fn image_here(story: &Story) -> String {
    story.bed.server("app-2").images_of("hits").remove("v1").unwrap()
}
