//! What is drawn anew on a terminal: one picture, whatever its size, and one that stays at the end.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::deploy::{done, rolling};
use super::fake::{Answer, Fake};
use super::place::Place;
use super::world::{DEPLOYMENT, app, cluster, replica, takes_deploys};

/// A control plane whose app has one replica more each time that it is asked, up to `most`; then it is as it is.
fn growing(most: u32) -> Fake {
    let asked = AtomicU64::new(0);
    Fake::new(move |question| match question.path.as_str() {
        "/v1/apps/hits" => {
            let count = u32::try_from(asked.fetch_add(1, Ordering::SeqCst) + 1).unwrap().min(most);
            let replicas: Vec<_> = (1..=count).map(|n| replica(n, 42, "serving")).collect();
            Answer::ok(app(Some(42), "running", &replicas))
        }
        _ => Answer::ok(cluster()),
    })
}

#[test]
fn a_status_that_is_watched_is_one_picture_and_stays_after_ctrl_c() {
    let fake = growing(3);
    let place = Place::with(&fake);
    let mut terminal = place.on_terminal(&["status", "--watch", "--color", "never"], 20, 100);
    let picture = terminal.wait_for("the third replica", |screen| screen.contains("web-3"));
    assert_eq!(picture.matches("hits v42 running").count(), 1, "{picture}");
    terminal.press("\x03");
    assert_eq!(terminal.ended(), 0);
    let left = terminal.screen();
    assert_eq!(left.matches("hits v42 running").count(), 1, "{left}");
    assert!(left.contains("web-3") && left.contains("app-2: memory limits are not enforced"), "{left}");
    assert_eq!(terminal.scrolled(), 0, "nothing was pushed off the screen:\n{left}");
}

#[test]
fn a_picture_larger_than_the_screen_is_cut_and_whole_at_the_end() {
    let fake = growing(12);
    let place = Place::with(&fake);
    let mut terminal = place.on_terminal(&["status", "--watch", "--color", "never"], 8, 40);
    let cut = terminal.wait_for("the first replicas", |screen| screen.contains("web-2"));
    assert!(!cut.contains("web-5"), "{cut}");
    assert!(cut.lines().all(|line| line.chars().count() <= 40), "{cut}");
    terminal.resize(40, 120);
    let whole = terminal.wait_for("the rest", |screen| screen.contains("web-5") && screen.contains("web-1 "));
    assert!(whole.contains("http://hits.example.com"), "{whole}");
    terminal.press("\x03");
    assert_eq!(terminal.ended(), 0);
}

/// A control plane that hears the question and never answers must not leave an old picture standing, nor hold up Ctrl-C.
#[test]
fn a_control_plane_that_hangs_is_told_and_ctrl_c_is_heard() {
    let (asked, silent) = (AtomicU64::new(0), TcpListener::bind("127.0.0.1:0").unwrap());
    let hang = silent.local_addr().unwrap();
    let fake = Fake::new(move |question| {
        if question.path == "/v1/apps/hits" && asked.fetch_add(1, Ordering::SeqCst) > 0 {
            // Longer than anybody waits in this test: the connection is taken, and nothing comes.
            let _ = TcpStream::connect(hang).and_then(|mut stream| stream.read(&mut [0]));
        }
        match question.path.as_str() {
            "/v1/apps/hits" => Answer::ok(app(Some(42), "running", &[replica(1, 42, "serving")])),
            _ => Answer::ok(cluster()),
        }
    });
    let place = Place::with(&fake);
    let mut terminal = place.on_terminal(&["status", "--watch"], 20, 100);
    terminal.wait_for("the first picture", |screen| screen.contains("web-1"));
    let absent = terminal.wait_for("its absence", |screen| screen.contains("does not answer"));
    assert!(!absent.contains("web-1"), "{absent}");
    terminal.press("\x03");
    assert_eq!(terminal.ended(), 0);
    // Whoever still waits in the fake is let go.
    drop(silent);
}

#[test]
fn a_deploy_s_waits_are_drawn_below_its_steps_and_go() {
    let seen = Arc::new(AtomicBool::new(false));
    let goes_on = Arc::clone(&seen);
    let fake = Fake::new(move |asked| {
        takes_deploys(asked, |asked| {
            let view = if goes_on.load(Ordering::SeqCst) { done() } else { rolling(1) };
            asked.path.ends_with(DEPLOYMENT).then(|| Answer::ok(view))
        })
    });
    let place = Place::with(&fake);
    let mut terminal = place.on_terminal(&["deploy", "--color", "never"], 24, 100);
    let waits = terminal.wait_for("what is waited for", |screen| screen.contains("web: 1 of 3 ready"));
    assert!(waits.contains("web-1 of v43 is ready"), "{waits}");
    seen.store(true, Ordering::SeqCst);
    assert_eq!(terminal.ended(), 0);
    let screen = terminal.screen();
    assert!(screen.ends_with("hits v43 is live on 2 servers: 3 replicas replaced in 14.2 s"), "{screen}");
    assert!(!screen.contains("web: 1 of 3 ready"), "what was waited for is wiped: {screen}");
}

/// `lb top` is for when something is wrong: it must outlive an absence of the control plane.
#[test]
fn the_table_of_replicas_comes_back_when_the_control_plane_does() {
    let (asked, silent) = (AtomicU64::new(0), TcpListener::bind("127.0.0.1:0").unwrap());
    let hang = silent.local_addr().unwrap();
    let fake = Fake::new(move |_| {
        let count = asked.fetch_add(1, Ordering::SeqCst);
        if count == 2 {
            let _ = TcpStream::connect(hang).and_then(|mut stream| stream.read(&mut [0]));
        }
        Answer::ok(serde_json::json!({
            "now": format!("2026-01-01T00:00:{:02}Z", count % 60),
            "endpoints": [{ "pool": "hits/web", "name": format!("web-{}", count.min(9)),
                "address": "10.0.0.1:80", "draining": false, "seen": [] }],
        }))
    });
    let place = Place::with(&fake);
    let mut terminal = place.on_terminal(&["lb", "top", "--every", "500ms", "--color", "never"], 20, 100);
    terminal.wait_for("the first table", |screen| screen.contains("web-1"));
    terminal.wait_for("its absence", |screen| screen.contains("does not answer") && !screen.contains("web-"));
    drop(silent);
    let back = terminal.wait_for("the table again", |screen| screen.contains("web-9"));
    assert_eq!(back.matches("REPLICA").count(), 1, "{back}");
    terminal.press("\x03");
    assert_eq!(terminal.ended(), 0);
}
