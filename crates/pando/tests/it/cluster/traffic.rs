//! Load balancers: how traffic is moved to them, and what happens when one of them dies.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::answer::told;
use crate::bed::Bed;
use crate::bed::app::{App, HOST};
use crate::e2e::load::Load;

/// Says where visitors find the app, to the first server's resolver.
fn point_dns_at(bed: &Bed, servers: &[&str]) {
    let lines = servers.iter().map(|name| format!("{} {HOST}\\n", bed.server(name).address()));
    let lines: String = lines.collect();
    bed.servers[0].sh(&format!(
        "sed '/{HOST}/d' /etc/hosts > /run/hosts && printf '{lines}' >> /run/hosts && cp /run/hosts /etc/hosts"
    ));
}

/// A visitor who resolves the name anew goes to the balancer; no request is lost on the way.
fn move_to(bed: &Bed, balancer: &str, visitors: &mut Vec<Load>, moved: &mut Vec<Load>) -> u64 {
    moved.push(bed.load(balancer, 1));
    visitors.pop().unwrap().stop_flawless()
}

fn refused(bed: &Bed, args: &[&str], code: i32, words: &str) {
    let output = bed.pando(args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(code) && text.contains(words), "{args:?}: {}", told(&output));
}

/// A request that takes 26 s, and what its answer begins with.
fn slow_request(bed: &Bed, server: &str) -> JoinHandle<String> {
    let address = (bed.server(server).address(), 80);
    std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /slow?ms=26000 HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    })
}

/// From web servers that answer directly to a balancer alone, with the firewall on: share by share, then for good.
#[test]
fn cluster_traffic_moves_to_a_balancer_and_direct_access_is_closed() {
    let bed = Bed::of(&["main", "app-2", "lb-1"]);
    bed.found();
    bed.join("app-2", &["web"]);
    let mut app = App::default();
    bed.deploy(&app);
    bed.wait_spread("web", &[("main", 2), ("app-2", 2)], 60);
    point_dns_at(&bed, &["main", "app-2"]);
    let mut visitors =
        vec![bed.load("main", 1), bed.load("app-2", 1), bed.load("main", 1), bed.load("app-2", 1)];
    bed.ok(&["firewall", "enable", "--yes"]);
    refused(&bed, &["lb", "cutover"], 4, "there is no load balancer");

    bed.join("lb-1", &["lb"]);
    bed.wait_in_rotation("lb-1", 4);
    bed.wait_firewalls();
    let (mut moved, mut direct) = (Vec::new(), 0);
    direct += move_to(&bed, "lb-1", &mut visitors, &mut moved);
    refused(&bed, &["lb", "lockdown"], 4, "still arrive");
    refused(&bed, &["lb", "cutover"], 1, "1 domain still to be moved");
    point_dns_at(&bed, &["lb-1"]);
    direct += move_to(&bed, "lb-1", &mut visitors, &mut moved);
    bed.deploy(app.next());
    direct += move_to(&bed, "lb-1", &mut visitors, &mut moved);
    refused(&bed, &["lb", "cutover"], 1, "requests still arrive beside");
    direct += move_to(&bed, "lb-1", &mut visitors, &mut moved);
    refused(&bed, &["lb", "lockdown"], 4, "still arrive");

    let watched = Instant::now();
    bed.begin(&["lb", "cutover", "--watch", "--every", "1s"]).end_well(&bed, 90);
    println!("nothing arrived directly any more after {} s", watched.elapsed().as_secs());
    bed.ok(&["lb", "lockdown"]);
    let matrix = bed.check_matrix("after the lockdown");
    let open = |to: &str| matrix[&("outside".to_owned(), to.to_owned())].contains(&80);
    assert_eq!((open("main"), open("app-2"), open("lb-1")), (false, false, true));
    bed.deploy(app.next());
    println!("directly: {direct} requests, 0 failed");
    moved.into_iter().for_each(|load| load.stop().check("through the balancer", 0));
}

/// Only who is connected to the dead one notices; a deploy waits until it is lost and no longer.
#[test]
fn cluster_one_of_two_balancers_dies_and_returns() {
    let mut bed = Bed::of(&["main", "app-2", "lb-1", "lb-2"]);
    bed.found();
    bed.join("app-2", &["web"]);
    bed.join("lb-1", &["lb"]);
    bed.join("lb-2", &["lb"]);
    let mut app = App::default();
    bed.deploy(&app);
    bed.wait_spread("web", &[("main", 2), ("app-2", 2)], 60);
    bed.ok(&["lb", "lockdown", "--force"]);
    bed.wait_in_rotation("lb-1", 4);
    bed.wait_in_rotation("lb-2", 4);
    let (dying, living) = (bed.load("lb-1", 2), bed.load("lb-2", 2));

    bed.server_mut("lb-1").power_off();
    let slow = slow_request(&bed, "lb-2");
    let start = Instant::now();
    bed.write(app.next());
    let deploy = bed.begin(&["deploy"]);
    let of_dead = dying.stop();
    deploy.end_well(&bed, 45);
    let took = start.elapsed();
    println!("a deploy beside a dead balancer: {} ms", took.as_millis());
    // It is lost after 20 s, but not in the first 30 s of a control plane; beside that, what a deploy takes.
    assert!(took.as_secs() < 35, "{took:?}");
    bed.wait_spread("web", &[("main", 2), ("app-2", 2)], 40);
    assert_eq!(
        slow.join().unwrap(),
        "HTTP/1.1 200 OK",
        "a request that was under way when its replica was replaced"
    );
    println!("through the dead one: {} requests, {} failed", of_dead.requests, of_dead.failed);
    assert!(of_dead.failed > 0);

    println!("quiet after {} ms", start.elapsed().as_millis());
    let start = Instant::now();
    bed.server_mut("lb-1").power_on();
    bed.server("lb-1").start();
    bed.wait_alive("lb-1");
    bed.wait_in_rotation("lb-1", 4);
    println!("balances again {} ms after its power-on", start.elapsed().as_millis());
    let returned = bed.load("lb-1", 2);
    bed.deploy(app.next());
    returned.stop().check("through the one that returned", 0);
    living.stop().check("through the other one", 0);
}
