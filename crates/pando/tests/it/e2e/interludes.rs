//! Maintenance and pauses of the real thing, under load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::bed::{Bed, Settings};
use super::load::Load;
use super::routes::ask;
use crate::answer::told;

#[test]
fn e2e_maintenance_lets_through_who_may_pass_and_survives_a_deploy() {
    let mut bed = Bed::up(Settings::default());
    let load = Load::start(&bed.address(), 2);
    let said = bed.ok(&["maintenance", "on", "--allow", "127.0.0.0/8", "--message", "Back at noon."]);
    assert!(said.contains("127.0.0.0/8 passes"), "{said}");
    load.wait_for_requests(100);
    load.stop().check("who may pass in maintenance", 0);

    bed.ok(&["maintenance", "on", "--message", "Back at noon.", "--retry-after", "10m"]);
    let shut = ask(&bed, "/", "");
    assert!(shut.starts_with("HTTP/1.1 503 "), "{shut}");
    assert!(shut.contains("Back at noon.") && shut.to_lowercase().contains("retry-after: 600"), "{shut}");
    for args in [&["status"][..], &["status", "--all"], &["lb", "status"], &["maintenance", "status"]] {
        assert!(bed.ok(args).contains("maintenance for"), "{args:?}");
    }
    bed.change(|settings| settings.replicas = 2);
    bed.ok(&["deploy"]);
    assert!(ask(&bed, "/", "").starts_with("HTTP/1.1 503 "), "a deploy leaves it on");

    std::fs::write(bed.path("page.html"), "<h1>Gleich zurück</h1>").unwrap();
    bed.ok(&["maintenance", "on", "--page", "page.html"]);
    let shut = ask(&bed, "/", "Accept: text/html\r\n");
    assert!(shut.contains("<h1>Gleich zurück</h1>") && shut.contains("text/html"), "{shut}");
    let refused = bed.pando(&["maintenance", "on", "--page", "nowhere.html"]);
    assert!(!refused.status.success() && told(&refused).contains("nowhere.html"), "{}", told(&refused));
    assert!(
        ask(&bed, "/", "Accept: text/html\r\n").contains("Gleich zurück"),
        "what is refused changes nothing"
    );

    let said = bed.ok(&["maintenance", "off"]);
    assert!(said.contains("its requests are served"), "{said}");
    assert!(ask(&bed, "/health", "").starts_with("HTTP/1.1 200 "));
    let events = bed.ok(&["events"]);
    assert!(events.contains("maintenance begins") && events.contains("maintenance ends"), "{events}");
}

#[test]
fn e2e_a_pause_holds_requests_and_none_fails() {
    let bed = Bed::up(Settings::default());
    let load = Load::start(&bed.address(), 4);
    bed.ok(&["pause", "--for", "60s"]);
    assert!(bed.ok(&["status"]).contains("requests wait"));
    let answered = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let held = scope.spawn(|| {
            let answer = ask(&bed, "/health", "");
            answered.store(true, Ordering::SeqCst);
            answer
        });
        // Longer than an answer takes by far; a held one is answered at no time before the pause ends.
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            assert!(!answered.load(Ordering::SeqCst), "it was answered in the pause");
            std::thread::sleep(Duration::from_millis(20));
        }
        bed.ok(&["resume"]);
        assert!(held.join().unwrap().starts_with("HTTP/1.1 200 "));
    });
    load.wait_for_requests(50);
    load.stop().check("a pause and its end", 0);

    // Nobody resumes: it ends by itself.
    bed.ok(&["pause", "--for", "2s"]);
    let begun = Instant::now();
    let answer = ask(&bed, "/health", "");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(begun.elapsed() > Duration::from_millis(500), "it was held: {:?}", begun.elapsed());
    bed.wait_for("the pause to end", 10, |status| status["wish_in_force"] == true);
    assert!(!bed.ok(&["status"]).contains("requests wait"));
}
