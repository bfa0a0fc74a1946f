//! TLS through the load balancers of a cluster: certificates come, are swapped under load and go; sessions are good at all of them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::answer::told;
use crate::bed::Bed;
use crate::bed::app::{App, HOST};
use crate::bed::tls::{Authority, Https, Issued, Kept};
use crate::e2e::bed::kill;

const BALANCERS: [&str; 2] = ["lb-1", "lb-2"];

/// The control plane apart from everything else, a web server, two load balancers, and the app.
fn bed() -> Bed {
    bed_with(&BALANCERS)
}

fn bed_with(balancers: &[&str]) -> Bed {
    let bed = Bed::of(&[&["main", "web-1"][..], balancers].concat());
    bed.found_as(&["control"]);
    bed.join("web-1", &["web"]);
    balancers.iter().for_each(|name| bed.join(name, &["lb"]));
    bed.deploy(&App { web: "replicas: 2".to_owned(), ..App::default() });
    bed.wait_spread("web", &[("web-1", 2)], 60);
    bed.ok(&["lb", "lockdown", "--force"]);
    balancers.iter().for_each(|name| bed.wait_in_rotation(name, 2));
    bed
}

fn import(bed: &Bed, issued: &Issued) {
    fs::write(bed.project().join("chain.pem"), &issued.chain).unwrap();
    fs::write(bed.project().join("key.pem"), &issued.key).unwrap();
    bed.ok(&["cert", "import", "--cert", "chain.pem", "--key", "key.pem"]);
    fs::remove_file(bed.project().join("key.pem")).unwrap();
}

fn connect(bed: &Bed, visitor: &Arc<ClientConfig>, balancer: &str) -> Result<Https, String> {
    Https::connect(visitor, HOST, bed.server(balancer).address())
}

/// How long until the balancer shows this certificate to who comes anew.
#[track_caller]
fn wait_shown(bed: &Bed, authority: &Authority, balancer: &str, issued: &Issued) -> Duration {
    let began = Instant::now();
    loop {
        // Without a ticket, since a resumed session shows what the first one showed.
        let got = connect(bed, &authority.visitor(), balancer).map(|https| https.shown());
        if got.as_ref() == Ok(&issued.own) {
            return began.elapsed();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{balancer}: {:?}\n{}", got.err(), bed.logs());
    }
}

/// Whoever looks is told that the domain lacks a certificate, or not any more.
#[track_caller]
fn wait_warned(bed: &Bed, warned: bool) {
    let said = format!("{HOST} has no certificate");
    for (args, place) in [(["lb", "status"], "/warnings"), (["cluster", "status"], "/status/warnings")] {
        bed.wait_for(&args, &format!("{args:?} warns: {warned}"), 20, |told| {
            let warnings =
                told.pointer(place).and_then(|lines| lines.as_array()).cloned().unwrap_or_default();
            let found = warnings.iter().any(|line| line.as_str().unwrap_or_default().starts_with(&said));
            found == warned
        });
    }
}

/// The head of the answer to a request without TLS.
fn plain(bed: &Bed, balancer: &str) -> String {
    let mut stream = TcpStream::connect((bed.server(balancer).address(), 80)).unwrap();
    write!(stream, "GET /x?y=1 HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split("\r\n\r\n").next().unwrap_or_default().to_owned()
}

/// Nothing of a key lies anywhere but where it may: on load balancers, in what they and their agents keep, which are root's and
/// theirs.
fn check_hidden(bed: &Bed, issued: &Issued) {
    let secret = issued.key.lines().nth(1).unwrap();
    let store = "/var/lib/pando/store";
    for word in [secret, "PRIVATE KEY", "-----BEGIN"] {
        let found = bed.server("main").sh(&format!("grep -r -l -a -e '{word}' {store} || true"));
        assert_eq!(found, "", "the store holds {word}");
    }
    for server in &bed.servers {
        for place in ["/var/lib/pando/log", "/var/lib/pando/keep"] {
            let found = server.sh(&format!("grep -r -l -a -e '{secret}' {place} || true"));
            assert_eq!(found, "", "{} tells it", server.name);
        }
        let holding = server.sh(&format!("grep -r -l -a -e '{secret}' /var/lib/pando || true"));
        for file in holding.lines() {
            let mode = fs::metadata(server.inside(file)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{file} on {}", server.name);
        }
        let balances = BALANCERS.contains(&server.name.as_str());
        assert_eq!(!holding.is_empty(), balances, "{} has it in: {holding}", server.name);
    }
    for args in
        [&["events", "--all"][..], &["lb", "status"], &["cert", "ls"], &["cluster", "status"], &["status"]]
    {
        let output = bed.pando(&[args, &["--json"]].concat());
        assert!(!told(&output).contains(secret), "{args:?}");
    }
}

#[test]
fn cluster_https_comes_is_swapped_under_load_and_goes() {
    let bed = bed();
    let authority = Authority::make();
    let visitor = authority.visitor();
    // Before: a self-signed answer, nobody is sent to it, and it is said.
    for balancer in BALANCERS {
        let refused = connect(&bed, &visitor, balancer).err().unwrap_or_default();
        assert!(refused.contains("UnknownIssuer"), "{refused}");
        assert!(plain(&bed, balancer).starts_with("HTTP/1.1 404"), "{}", plain(&bed, balancer));
    }
    let list = bed.json(&["cert", "ls"]);
    assert_eq!(list["missing"][0]["domain"], HOST);
    wait_warned(&bed, true);

    let first = authority.issue(&[HOST]);
    import(&bed, &first);
    let waits = BALANCERS.map(|balancer| wait_shown(&bed, &authority, balancer, &first));
    println!("shown after {waits:?}");
    assert!(waits.iter().all(|wait| *wait < Duration::from_secs(1)), "{waits:?}");
    for balancer in BALANCERS {
        let head = plain(&bed, balancer);
        assert!(head.starts_with("HTTP/1.1 308"), "{head}");
        assert!(head.to_lowercase().contains(&format!("location: https://{HOST}/x?y=1")), "{head}");
    }
    assert_eq!(bed.json(&["cert", "ls"])["missing"].as_array().unwrap().len(), 0);
    wait_warned(&bed, false);
    assert_eq!(bed.json(&["status"])["urls"][0], format!("https://{HOST}"));

    // A session that began at one is resumed at the other.
    let mut at_first = connect(&bed, &visitor, "lb-1").unwrap();
    assert!(!at_first.is_resumed());
    assert_eq!(at_first.get("/").unwrap().0, 200);
    drop(at_first);
    let mut at_second = connect(&bed, &visitor, "lb-2").unwrap();
    assert!(at_second.is_resumed(), "balancers share their ticket keys");
    assert_eq!(at_second.get("/").unwrap().0, 200);

    // Swapped ten times while connections are kept and never idle.
    let kept = BALANCERS.map(|name| Kept::start(&visitor, HOST, bed.server(name).address(), 4));
    let mut slowest = Duration::ZERO;
    let mut last = first;
    for _ in 0..10 {
        let next = authority.issue(&[HOST]);
        import(&bed, &next);
        for balancer in BALANCERS {
            slowest = slowest.max(wait_shown(&bed, &authority, balancer, &next));
        }
        kept.iter().for_each(|kept| kept.wait_for_requests(20));
        last = next;
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let requests: u64 = kept.into_iter().map(Kept::stop_flawless).sum();
    println!(
        "10 swaps, the slowest shown after {slowest:?}; {requests} requests on 8 connections, 0 failed, 0 closed"
    );
    check_hidden(&bed, &last);

    // Its domain would be left bare: only by force.
    let refused = bed.pando(&["cert", "rm", HOST]);
    assert_eq!(refused.status.code(), Some(4), "{}", told(&refused));
    bed.ok(&["cert", "rm", HOST, "--force"]);
    let began = Instant::now();
    for balancer in BALANCERS {
        while connect(&bed, &authority.visitor(), balancer).is_ok() {
            assert!(began.elapsed() < Duration::from_secs(20), "{balancer} still shows it");
        }
        assert!(!plain(&bed, balancer).starts_with("HTTP/1.1 308"), "nobody is sent to a self-signed answer");
    }
    println!("gone after {:?}", began.elapsed());
    let events = bed.ok(&["events", "--all"]);
    assert!(events.contains("was imported (by Bed CA") && events.contains("was removed"), "{events}");
}

#[test]
fn cluster_https_goes_on_while_the_control_plane_is_away() {
    let mut bed = bed();
    let authority = Authority::make();
    let visitor = authority.visitor();
    let issued = authority.issue(&[HOST]);
    import(&bed, &issued);
    for balancer in BALANCERS {
        wait_shown(&bed, &authority, balancer, &issued);
    }
    assert_eq!(connect(&bed, &visitor, "lb-2").unwrap().get("/").unwrap().0, 200);

    bed.server_mut("main").power_off();
    // One balancer's program dies, the whole server of the other loses power: both serve from their disks.
    kill(bed.server("lb-1").proxy_pid().unwrap());
    bed.server_mut("lb-2").power_off();
    bed.server_mut("lb-2").power_on();
    bed.server("lb-2").start();
    for balancer in BALANCERS {
        wait_shown(&bed, &authority, balancer, &issued);
        let mut https = connect(&bed, &visitor, balancer).unwrap();
        assert!(https.is_resumed(), "{balancer} has its ticket keys still");
        let until = Instant::now() + Duration::from_secs(20);
        while https.get("/").unwrap().0 != 200 {
            assert!(Instant::now() < until, "{balancer} finds no replica");
        }
    }

    // The control plane comes back, opens what it sealed, and goes on.
    bed.server_mut("main").power_on();
    bed.server("main").start();
    BALANCERS.iter().for_each(|name| bed.wait_alive(name));
    let next = authority.issue(&[HOST]);
    import(&bed, &next);
    for balancer in BALANCERS {
        let wait = wait_shown(&bed, &authority, balancer, &next);
        let mut https = connect(&bed, &visitor, balancer).unwrap();
        assert!(https.is_resumed(), "its keys are the same");
        // With the answer comes the ticket for the next visit.
        assert_eq!(https.get("/").unwrap().0, 200);
        println!("{balancer} shows the next one after {wait:?}");
    }
    check_hidden(&bed, &next);
}

/// The files there that have the key in them.
fn files_with(bed: &Bed, server: &str, issued: &Issued) -> String {
    let secret = issued.key.lines().nth(1).unwrap();
    bed.server(server)
        .sh(&format!("grep -r -l -a -F -e '{secret}' /var/lib/pando /run/pando 2>/dev/null || true"))
}

/// The memory of the server's daemon has the key in it, in whichever of its forms a line of it stays whole.
fn remembers(bed: &Bed, server: &str, issued: &Issued) -> bool {
    let pid = bed.server(server).daemon_pid().unwrap();
    let secret = issued.key.lines().nth(1).unwrap().as_bytes();
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw"))).any(
        |line| {
            let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            // What is unmapped meanwhile can't be read.
            let read = memory.read_exact_at(&mut bytes, from);
            read.is_ok() && memchr::memmem::find(&bytes, secret).is_some()
        },
    )
}

fn wait_forgotten(bed: &Bed, server: &str, issued: &Issued) {
    let began = Instant::now();
    while !files_with(bed, server, issued).is_empty() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{}\n{}",
            files_with(bed, server, issued),
            bed.logs()
        );
    }
}

#[test]
fn cluster_https_keys_are_on_entry_points_alone() {
    let bed = bed_with(&["lb-1"]);
    let authority = Authority::make();
    let issued = authority.issue(&[HOST]);
    import(&bed, &issued);
    wait_shown(&bed, &authority, "lb-1", &issued);
    // What can be found is found where it may be.
    assert!(files_with(&bed, "lb-1", &issued).contains("ledger/secrets.json"));
    assert!(remembers(&bed, "lb-1", &issued));
    // Its table is there by now: it goes by the same version.
    bed.wait_for(&["lb", "status"], "the newest table is in use", 20, |told| {
        told["entry_points"][0]["proxy"]["acknowledged"] == told["entry_points"][0]["proxy"]["published"]
    });
    assert_eq!(files_with(&bed, "web-1", &issued), "");
    assert!(!remembers(&bed, "web-1", &issued), "the daemon of a server without an entry knows the key");
    assert!(connect(&bed, &authority.visitor(), "web-1").is_err());

    bed.ok(&["server", "roles", "web-1", "+lb"]);
    let wait = wait_shown(&bed, &authority, "web-1", &issued);
    println!("a new entry point serves TLS after {wait:?}");
    assert!(files_with(&bed, "web-1", &issued).contains("ledger/secrets.json"));
    let mut https = connect(&bed, &authority.visitor(), "web-1").unwrap();
    assert_eq!(https.get("/").unwrap().0, 200);
    drop(https);

    bed.ok(&["server", "roles", "web-1", "-lb"]);
    wait_forgotten(&bed, "web-1", &issued);
    assert!(connect(&bed, &authority.visitor(), "web-1").is_err());
    // It comes back to them as it came to them first.
    bed.ok(&["server", "roles", "web-1", "+lb"]);
    wait_shown(&bed, &authority, "web-1", &issued);
}

#[test]
fn cluster_https_reaches_a_balancer_that_was_cut_off() {
    let bed = bed();
    let authority = Authority::make();
    let visitor = authority.visitor();
    let first = authority.issue(&[HOST]);
    import(&bed, &first);
    for balancer in BALANCERS {
        wait_shown(&bed, &authority, balancer, &first);
    }
    let kept = Kept::start(&visitor, HOST, bed.server("lb-2").address(), 2);

    bed.server("lb-2").cut_off_from(&[bed.server("main").address()]);
    let next = authority.issue(&[HOST]);
    import(&bed, &next);
    wait_shown(&bed, &authority, "lb-1", &next);
    // The other has the newest table from its neighbours, with what it had of certificates; and that is said.
    let of_second = |told: &serde_json::Value| {
        let all = told["entry_points"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|entry| entry["name"] == "lb-2").unwrap_or_default()
    };
    bed.wait_for(&["lb", "status"], "lb-2 has older certificates", 30, |told| {
        of_second(told)["proxy"]["older_secrets"] == true
    });
    let told = bed.ok(&["lb", "status"]);
    assert!(told.contains("older certificates"), "{told}");
    assert_eq!(connect(&bed, &authority.visitor(), "lb-2").unwrap().shown(), first.own);

    bed.server("lb-2").heal();
    let wait = wait_shown(&bed, &authority, "lb-2", &next);
    println!("shown {wait:?} after the line is whole");
    bed.wait_for(&["lb", "status"], "lb-2 has the newest", 20, |told| {
        of_second(told)["proxy"].get("older_secrets").is_none()
    });
    println!("{} requests meanwhile, 0 failed, 0 closed", kept.stop_flawless());
    check_hidden(&bed, &next);
}
