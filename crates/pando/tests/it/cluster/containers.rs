//! Apps that are images on several servers, each with its own engine: sent once, spread by the servers, kept by them.

use std::fs;
use std::time::Instant;

use crate::bed::Bed;
use crate::bed::app::App;
use crate::bed::desk::Desk;
use crate::bed::engine::WITH_ENGINE;
use crate::docker::image;
use crate::e2e::load::Load;

/// Of requests, answers and certificates, beside the layers.
const TALK: u64 = 400_000;

/// Three servers with engines, and an entry point without one.
fn three_and_an_entry() -> (Bed, Desk) {
    let mut bed = Bed::with_engines(&["main", "app-2", "app-3"]);
    bed.add("lb-1");
    bed.found();
    bed.join("app-2", &["web"]);
    bed.join("app-3", &["web"]);
    bed.join("lb-1", &["lb"]);
    let desk = bed.desk();
    (bed, desk)
}

/// Writes what the image is built of.
fn write_note(bed: &Bed, note: &str) {
    let dockerfile = format!("FROM {}\n{}\nCOPY note /note\n", image::hits(), image::marked(&bed.path("")));
    fs::write(bed.project().join("Dockerfile"), dockerfile).unwrap();
    fs::write(bed.project().join(".dockerignore"), "*\n!note\n").unwrap();
    fs::write(bed.project().join("note"), note).unwrap();
}

/// Where the control plane keeps packed layers, and where servers keep those that they fetched.
const STORED: &str = "/var/lib/pando/artifacts/*.layer.zst";
const FETCHED: &str = "/var/lib/pando/releases/.fetched/*";

/// How many bytes the layers that a server keeps packed have.
fn packed_on(bed: &Bed, server: &str, files: &str) -> u64 {
    bed.server(server).sh(&format!("cat {files} 2>/dev/null | wc -c")).trim().parse().unwrap()
}

fn spread(per_server: usize) -> [(&'static str, usize); 3] {
    ["main", "app-2", "app-3"].map(|name| (name, per_server))
}

#[test]
fn cluster_what_is_built_at_a_desk_is_sent_once_and_rolls_over_three_servers() {
    let (bed, desk) = three_and_an_entry();
    let _left = image::Left::by(&bed.path(""));
    let mut app = App::of_image("build: {context: .}");
    app.web = "replicas: 3".to_owned();
    write_note(&bed, "one");
    bed.write(&app);
    let before = desk.sent();
    desk.ok(&bed, &["deploy"]);
    bed.wait_spread("web", &spread(1), 60);
    let (sent, packed) = (desk.sent() - before, packed_on(&bed, "main", STORED));
    println!("sent {sent} bytes for {packed} of packed layers");
    assert!(sent > packed && sent < packed + packed / 50 + TALK, "{sent} for {packed}");
    check_images(&bed, "v1");

    let load = entry(&bed);
    for number in 2..=4 {
        write_note(&bed, &number.to_string());
        bed.write(app.next());
        let before = desk.sent();
        let said = desk.ok(&bed, &["deploy"]);
        assert!(said.contains(" 0 failed"), "{said}");
        assert!(desk.sent() - before < TALK, "a changed line: {} bytes", desk.sent() - before);
        let note = bed.ok(&["exec", "web-1", "--", "cat /note"]);
        assert!(note.contains(&number.to_string()), "{note}");
        check_images(&bed, &format!("v{number}"));
    }
    bed.wait_spread("web", &spread(1), 30);
    load.stop().check("through the entry point", 0);
}

fn entry(bed: &Bed) -> Load {
    bed.wait_in_rotation("lb-1", 3);
    bed.load("lb-1", 2)
}

/// Every server's engine has the same image under the release's name.
#[track_caller]
fn check_images(bed: &Bed, release: &str) {
    let ids: Vec<_> =
        spread(1).map(|(name, _)| bed.server(name).images_of("hits").get(release).cloned()).into();
    assert!(ids[0].is_some() && ids.iter().all(|id| *id == ids[0]), "{release}: {ids:?}");
}

/// The control plane and five servers of the app. Nothing but what it sends goes out of each.
#[test]
fn cluster_an_image_goes_on_from_server_to_server() {
    let names = ["main", "app-1", "app-2", "app-3", "app-4", "app-5"];
    let mut bed = Bed::of(&["main"]);
    names[1..].iter().for_each(|name| bed.add_kind(name, WITH_ENGINE));
    bed.found_as(&["control"]);
    names[1..].iter().for_each(|name| bed.join(name, &["web"]));
    let desk = bed.desk();
    let image = image::with_noise("spread", 24);
    let mut app = App::of_image(&format!("image: {{repository: {}, pull_policy: never}}", image.name()));
    app.web = "per_server: 1".to_owned();
    bed.write(&app);
    // A line on which a copy takes long enough that others ask for it meanwhile.
    bed.server("main").limit_sending(40);
    let before = names.map(|name| bed.sent_by(name));
    let from_desk = desk.sent();
    desk.ok(&bed, &["deploy"]);
    let from_desk = desk.sent() - from_desk;
    let wanted: Vec<_> = names[1..].iter().map(|name| (*name, 1)).collect();
    bed.wait_spread("web", &wanted, 60);
    let sent: Vec<u64> = names.iter().zip(before).map(|(name, before)| bed.sent_by(name) - before).collect();
    let (control, peers) = (sent[0], sent[1..].iter().sum::<u64>());
    let copy = packed_on(&bed, "main", STORED);
    println!(
        "a copy has {copy} bytes; the desk sent {from_desk}, the control plane {control}, servers of the app {sent:?}"
    );
    assert!(from_desk < copy + copy / 50 + TALK, "{from_desk} for {copy}");
    for name in &names[1..] {
        let kept = packed_on(&bed, name, FETCHED);
        assert!((copy..copy + TALK).contains(&kept), "{name} keeps {kept} for the others");
    }
    assert!(control + peers > 5 * copy && peers > copy, "{sent:?} for {copy}");
    assert!(
        control < 3 * copy + copy / 2,
        "the control plane sends it to three at once, and to no more: {control} for {copy}"
    );
}

/// Going back needs what the engines have, and nothing else; so do replicas that move.
#[test]
fn cluster_kept_images_need_no_layers_and_no_registry() {
    let (mut bed, desk) = three_and_an_entry();
    let _left = image::Left::by(&bed.path(""));
    let mut app = App::of_image("build: {context: .}");
    app.web = "replicas: 3".to_owned();
    for note in ["one", "two"] {
        write_note(&bed, note);
        bed.write(app.next());
        desk.ok(&bed, &["deploy"]);
    }
    let load = entry(&bed);
    for (name, _) in spread(1) {
        assert!(packed_on(&bed, name, &format!("{STORED} {FETCHED}")) > 0);
        bed.server(name).sh(&format!("rm -f {STORED} {FETCHED}"));
    }
    bed.ok(&["rollback"]);
    bed.wait_spread("web", &spread(1), 30);
    let note = bed.ok(&["exec", "web-1", "--", "cat /note"]);
    assert!(note.contains("one"), "{note}");
    load.stop().check("back without layers", 0);

    let (load, start) = (entry(&bed), Instant::now());
    bed.server_mut("app-3").power_off();
    bed.wait_serving("web", &[("main", 1), ("app-2", 2)], 90);
    println!("a dead server's container runs elsewhere after {} ms", start.elapsed().as_millis());
    // Two clients with keep-alive and two without, each with one request under way.
    load.stop().check("through the entry point", 4);
    let load = entry(&bed);
    bed.server_mut("app-3").power_on();
    bed.server("app-3").start();
    bed.wait_alive("app-3");
    bed.wait_for(&["status"], "three replicas", 60, |status| {
        Bed::serving(status, "web").values().sum::<usize>() == 3
            && status["replicas"].as_array().is_some_and(|held| held.len() == 3)
    });
    let running: usize = spread(1).iter().map(|(name, _)| bed.server(name).containers().len()).sum();
    assert_eq!(running, 3, "what ran on the dead server does not run twice");
    load.stop().check("while it returns", 0);
}

/// A published port is let in by the engine's own rules, before those of the server are asked.
#[test]
fn cluster_the_firewall_holds_for_ports_of_containers() {
    let bed = Bed::with_engines(&["main", "app-2"]);
    bed.found();
    bed.join("app-2", &["web"]);
    let desk = bed.desk();
    let mut app = App::of_image(&format!("image: {{repository: {}, pull_policy: never}}", image::hits()));
    app.web = "replicas: 4".to_owned();
    bed.write(&app);
    desk.ok(&bed, &["deploy"]);
    bed.wait_spread("web", &[("main", 2), ("app-2", 2)], 60);
    let open = bed.measured();
    assert!(open[&("outside".to_owned(), "app-2".to_owned())].contains(&20_000), "{open:?}");
    bed.ok(&["firewall", "enable", "--yes"]);
    let load = bed.load("main", 2);
    let matrix = bed.check_matrix("with a firewall");
    assert!(!matrix[&("outside".to_owned(), "app-2".to_owned())].contains(&20_000));
    load.wait_for_requests(200);
    load.stop().check("through the firewalls", 0);
}
