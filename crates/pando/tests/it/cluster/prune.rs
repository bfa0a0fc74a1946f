//! Keeping house: what nothing needs goes, whatever was left by whom, and nothing else does.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::answer::told;
use crate::bed::app::App;
use crate::bed::desk::Desk;
use crate::bed::server::Server;
use crate::bed::{Bed, EVERYTHING};
use crate::docker::image::{self, Own};

/// Two servers with engines and the app as an image, in two releases of different images.
struct Story {
    bed: Bed,
    desk: Desk,
    app: App,
    /// Of the second release.
    _image: Own,
}

const BOTH: [(&str, usize); 2] = [("main", 1), ("app-2", 1)];

impl Story {
    fn begin() -> Self {
        let bed = Bed::with_engines(&["main", "app-2"]);
        bed.found();
        bed.join("app-2", &["web"]);
        let (desk, app) = (bed.desk(), App { web: "per_server: 1".to_owned(), ..App::default() });
        let image = image::with_noise("prune", 8);
        let mut story = Self { bed, desk, app, _image: image };
        story.deploy(&image::hits());
        let second = story._image.name().to_owned();
        story.deploy(&second);
        story
    }

    fn deploy(&mut self, image: &str) {
        let image = format!("image: {{repository: {image}, pull_policy: never}}");
        self.app = App { image, command: String::new(), ..self.app.clone() };
        self.bed.write(self.app.next());
        self.desk.ok(&self.bed, &["deploy"]);
        self.bed.wait_spread("web", &BOTH, 60);
    }

    fn server(&self) -> &Server {
        self.bed.server("app-2")
    }

    /// What `pando prune` answers with these words beside, and its exit code.
    fn prune(&self, words: &[&str]) -> (Value, Option<i32>) {
        let args = [&["prune", "--json"], words].concat();
        let output = self.bed.pando(&args);
        let answer = serde_json::from_slice(&output.stdout);
        (answer.unwrap_or_else(|error| panic!("{error}: {}", told(&output))), output.status.code())
    }

    fn back_to(&self, words: &[&str], release: u64) {
        self.bed.ok(&[&["rollback"], words].concat());
        self.bed.wait_spread("web", &BOTH, 30);
        assert_eq!(self.bed.release(), release);
    }
}

/// What went, or would, from a server.
fn of<'a>(answer: &'a Value, server: &str) -> &'a Value {
    let servers = answer["servers"].as_array().unwrap();
    &servers.iter().find(|one| one["name"] == server).unwrap_or_else(|| panic!("{server} in {answer}"))["pruning"]
}

fn names(pruning: &Value) -> BTreeSet<String> {
    let things = pruning["things"].as_array().unwrap_or_else(|| panic!("things in {pruning}"));
    things.iter().map(|thing| thing["name"].as_str().unwrap().to_owned()).collect()
}

/// Every name and container of the engine, and every file that Pando keeps here.
fn all_of(server: &Server) -> BTreeSet<String> {
    let images = server.docker(&["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
    let containers = server.docker(&["ps", "--all", "--format", "{{.Names}}"]);
    let files = server.sh("cd /var/lib/pando/releases && find . -mindepth 2 -maxdepth 2");
    [images, containers, files].iter().flat_map(|text| text.lines().map(str::to_owned)).collect()
}

/// What crashes, removed apps and other people leave on a server.
struct Left {
    /// Names that are to go.
    goes: BTreeSet<String>,
}

const DIGEST: &str = "abababababababababababababababababababababababababababababababab";

impl Left {
    fn on(server: &Server) -> Self {
        let owner = server.sh("cat /var/lib/pando/containers/owner");
        let mark = &owner[owner.len() - 8..];
        let images = server.images_of("hits");
        let (kept, newest) = (&images["v1"], &images["v2"]);
        // An image of an app that is gone, of six megabytes upon a kept one.
        let line = format!(
            "mkdir -p /run/left && cd /run/left && head -c 6000000 /dev/urandom > noise && tar -cf noise.tar noise && \
             docker import --change 'CMD [\"/x\"]' noise.tar pando/gone:v8-{mark} >/dev/null && \
             docker tag {kept} pando/gone:v9-{mark} && docker tag pando/gone:v8-{mark} mine:1 && docker rmi mine:1 >/dev/null"
        );
        server.sh(&line);
        // Somebody else's: names that are like ours, one that we would take if nobody used it, and a container that has ended.
        let line = format!(
            "docker tag {newest} pando/hits:v1-ffffffff && docker tag {newest} mine:2 && \
             head -c 3000000 /dev/urandom > /run/left/used && tar -C /run/left -cf /run/left/used.tar used && \
             docker import /run/left/used.tar pando/gone:v7-{mark} >/dev/null && docker create --name theirs pando/gone:v7-{mark} /x >/dev/null && \
             docker create --name foreign --label pando.owner=somebody --label pando.run=x mine:2 /x >/dev/null"
        );
        server.sh(&line);
        // A container of ours whose run nobody knows; a packed layer, half of one, and a release of an app that is gone.
        let run = "0190aaaa-0000-7000-8000-000000000000";
        let line = format!(
            "docker create --name left --label pando.owner={owner} --label pando.run={run}.0 {newest} /x >/dev/null && \
             cd /var/lib/pando/releases && head -c 2000000 /dev/urandom > .fetched/{DIGEST} && \
             head -c 1000000 /dev/urandom > .fetched/{}.part && \
             mkdir -p gone/v3/bin && head -c 4000000 /dev/urandom > gone/v3/bin/web",
            "c".repeat(64)
        );
        server.sh(&line);
        let part = format!("{}.part", "c".repeat(64));
        let images = [8, 9].map(|release| format!("pando/gone:v{release}-{mark}"));
        let goes = ["left", "gone v3", DIGEST, &part].map(str::to_owned).into_iter().chain(images).collect();
        Self { goes }
    }
}

fn engine_bytes(server: &Server) -> u64 {
    let told = server.sh("curl -sS --unix-socket /var/run/docker.sock http://x/v1.41/system/df");
    let told: Value = serde_json::from_str(&told).unwrap();
    told["LayersSize"].as_u64().unwrap()
}

#[test]
fn cluster_leftovers_go_and_nothing_else_does() {
    let story = Story::begin();
    let server = story.server();
    let clean = all_of(server);
    let left = Left::on(server);
    let (before, before_bytes) = (all_of(server), engine_bytes(server));

    // Shown, nothing goes.
    let (shown, code) = story.prune(&[]);
    assert_eq!((names(of(&shown, "app-2")), code), (left.goes.clone(), Some(0)), "{shown}");
    assert_eq!((all_of(server), names(of(&shown, "main"))), (before, BTreeSet::new()));
    let said = story.bed.ok(&["prune"]);
    assert!(said.contains("no kept release needs it") && said.contains("would go"), "{said}");

    // Removed, it is that, with as many bytes, which the disk then has.
    let free = |server: &Server| -> u64 {
        server.sh("sync; df --output=avail -B1 /var/lib/pando | tail -1").trim().parse().unwrap()
    };
    let free_before = free(server);
    let (gone, code) = story.prune(&["--yes", "--server", "app-2"]);
    assert_eq!((names(of(&gone, "app-2")), code), (left.goes, Some(0)), "{gone}");
    assert_eq!(gone["bytes"], of(&shown, "app-2")["bytes"], "{gone}\n{shown}");
    let bytes = gone["bytes"].as_u64().unwrap();
    assert!((13_000_000..13_500_000).contains(&bytes), "{gone}");
    assert_eq!(before_bytes - engine_bytes(server), 6_000_000, "what the engine says of itself");
    let freed = free(server) - free_before;
    println!("{bytes} bytes were told to be freed, and the disk has {freed} more");
    assert!(freed.abs_diff(bytes) < 1_000_000, "{freed} and {bytes}");

    // What is left beyond what was there before is others', or in use.
    let others: BTreeSet<String> = all_of(server).difference(&clean).cloned().collect();
    let others: Vec<&str> = others.iter().map(|line| line.split([' ', '-']).next().unwrap()).collect();
    assert_eq!(others, ["foreign", "mine:2", "pando/gone:v7", "pando/hits:v1", "theirs"]);
    assert!(clean.iter().all(|one| all_of(server).contains(one)), "{clean:?}");
    let (again, _) = story.prune(&["--yes"]);
    assert_eq!((&again["bytes"], of(&again, "app-2")["count"].as_u64()), (&0.into(), Some(0)), "{again}");
    let events = story.bed.ok(&["events", "--all"]);
    assert!(
        events.contains("what nothing needed was removed, says") && events.contains("of app-2"),
        "{events}"
    );

    // In use no more, it is a leftover like others.
    server.docker(&["rm", "theirs"]);
    assert_eq!(names(of(&story.prune(&["--yes"]).0, "app-2")).len(), 1);
}

/// Neither a registry nor the cable is needed for what is kept: back, and forth again.
#[test]
fn cluster_kept_releases_outlive_a_pruning_and_need_no_network_either_way() {
    let story = Story::begin();
    story.back_to(&[], 1);
    let kept = all_of(story.server());
    let (gone, code) = story.prune(&["--yes"]);
    assert_eq!((gone["bytes"].as_u64(), code), (Some(0), Some(0)), "{gone}");
    assert_eq!(all_of(story.server()), kept);
    assert_eq!(story.server().images_of("hits").len(), 2, "the newer one is kept as well");
    // Not even layers lie about from which an image could be put together.
    for server in ["main", "app-2"] {
        story
            .bed
            .server(server)
            .sh("rm -f /var/lib/pando/artifacts/*.layer.zst /var/lib/pando/releases/.fetched/*");
    }
    let load = story.bed.load("main", 2);
    story.back_to(&["v2"], 2);
    story.back_to(&["v1"], 1);
    load.wait_for_requests(50);
    load.stop().check("forth and back without a layer anywhere", 0);
}

#[test]
fn cluster_who_can_t_be_asked_is_named_and_the_others_are_pruned() {
    let mut story = Story::begin();
    let left = Left::on(story.server());
    story
        .bed
        .server("main")
        .sh(&format!("head -c 2000000 /dev/urandom > /var/lib/pando/releases/.fetched/{DIGEST}"));
    // Without its engine the rest of a server is pruned.
    story.server().signal_engine(Signal::KILL);
    let (gone, code) = story.prune(&["--yes"]);
    let app_2 = of(&gone, "app-2");
    assert_eq!((names(app_2).len(), code), (3, Some(1)), "{gone}");
    assert!(app_2["trouble"].to_string().contains("images and containers were not looked at"), "{gone}");
    assert_eq!(names(of(&gone, "main")), BTreeSet::from([DIGEST.to_owned()]));
    story.server().start_engine();
    // Nobody hears of the server.
    story.bed.server_mut("app-2").power_off();
    story
        .bed
        .server("main")
        .sh(&format!("head -c 2000000 /dev/urandom > /var/lib/pando/releases/.fetched/{DIGEST}"));
    story.bed.wait_state("app-2", "lost", 60);
    let started = Instant::now();
    let (gone, code) = story.prune(&["--yes"]);
    assert_eq!((of(&gone, "app-2"), code), (&Value::Null, Some(1)), "{gone}");
    assert!(gone["servers"].to_string().contains("nothing is heard of it"), "{gone}");
    assert_eq!(names(of(&gone, "main")), BTreeSet::from([DIGEST.to_owned()]));
    assert!(started.elapsed() < Duration::from_secs(10), "nobody waits for it");
    let said = told(&story.bed.pando(&["prune"]));
    assert!(said.contains("app-2 could not be asked"), "{said}");
    assert!(!left.goes.is_empty());
}

/// An image that would not fit makes room for itself, where there is something that nothing needs.
#[test]
fn cluster_a_deploy_without_room_prunes_first() {
    let mut story = Story::begin();
    let ballast = format!("/var/lib/pando/releases/.fetched/{DIGEST}");
    story.server().fill_disk(250_000);
    story.server().sh(&format!("mv /var/lib/pando/ballast {ballast}"));
    let large = image::with_noise("prune-large", 60);
    story.deploy(large.name());
    story.server().sh(&format!("test ! -e {ballast}"));
    let events = story.bed.ok(&["events", "--all"]);
    assert!(events.contains("says a deploy that had no room"), "{events}");
}

/// A release that is being deployed while somebody prunes again and again comes up, and is whole.
#[test]
fn cluster_pruning_takes_nothing_from_a_deploy_under_way() {
    let mut story = Story::begin();
    for round in 0..3 {
        let image = image::with_noise(&format!("prune-race-{round}"), 20);
        let app = story.app.clone();
        let lines = format!("image: {{repository: {}, pull_policy: never}}", image.name());
        story.app = App { image: lines, ..app };
        story.bed.write(story.app.next());
        let mut deploy = story.desk.command(&story.bed, &["deploy"]);
        let mut deploy = deploy.stdout(std::process::Stdio::null()).spawn().unwrap();
        let mut prunings = 0;
        while deploy.try_wait().unwrap().is_none() {
            let (gone, _) = story.prune(&["--yes"]);
            assert_eq!(gone["bytes"], 0, "{gone}");
            prunings += 1;
        }
        assert!(deploy.wait().unwrap().success(), "{}", story.bed.logs());
        println!("{prunings} prunings in the middle of a deploy");
        story.bed.wait_spread("web", &BOTH, 60);
    }
    // The daemon may end in the middle of one.
    let left = Left::on(story.server());
    let daemon = story.server().daemon_pid().unwrap();
    let mut prune = story.bed.command(&["prune", "--yes"]).spawn().unwrap();
    crate::e2e::bed::kill(daemon);
    let _ = prune.wait();
    story.bed.wait_for(&["server", "show", "app-2"], "app-2 alive", 30, |server| server["state"] == "alive");
    story.bed.wait_for(&["prune"], "an answer of app-2", 30, |answer| {
        of(answer, "app-2")["trouble"].is_null() && !of(answer, "app-2").is_null()
    });
    story.prune(&["--yes"]);
    let things = all_of(story.server());
    assert!(left.goes.iter().all(|name| !things.iter().any(|one| one.contains(name.as_str()))), "{things:?}");
    story.bed.wait_spread("web", &BOTH, 30);
}

/// With a threshold that is always passed, nobody has to ask.
#[test]
fn cluster_a_full_disk_is_pruned_by_itself() {
    let bed = Bed::of(&["main"]);
    let main = bed.server("main");
    let address = main.address().to_string();
    let mut init = main.command(std::path::Path::new(env!("CARGO_BIN_EXE_pando")), std::path::Path::new("/"));
    init.args(["cluster", "init", "--name", "main", "--private-ip", &address]);
    init.args(EVERYTHING.iter().flat_map(|role| ["--role", *role]));
    let output = init.env("PANDO_PRUNE_BELOW", "100").output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    bed.wait_alive("main");
    bed.deploy(&App { web: "replicas: 1".to_owned(), ..App::default() });
    main.sh(&format!(
        "cd /var/lib/pando/releases && head -c 2000000 /dev/urandom > .fetched/{DIGEST} && mkdir -p gone/v3 && touch gone/v3/web"
    ));
    wait("an event of the pruning", || {
        let words = "main: 2 MB freed by removing 2 things that nothing needed: the disk with";
        bed.ok(&["events", "--all"]).contains(words)
    });
    main.sh(&format!(
        "cd /var/lib/pando/releases && test ! -e .fetched/{DIGEST} && test ! -e gone && test -e hits/v1"
    ));
    assert_eq!(bed.json(&["prune"])["bytes"], 0);
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(100);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within 100 s");
        std::thread::sleep(Duration::from_millis(200));
    }
}
