//! The first server of a cluster: what is said of its daemon's start.

use std::process::Output;

use crate::bed::Bed;

#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

#[test]
fn cluster_a_control_server_is_up_when_that_is_said_and_else_it_is_said_where_to_look() {
    let mut bed = Bed::of(&["main"]);
    bed.found();
    let again = bed.server("main").pando(&["cluster", "init"]);
    refused(&again, &["this server is `main` of a cluster already"]);

    bed.server_mut("main").power_off();
    bed.server_mut("main").power_on();
    bed.server("main").ok(&["server", "start"]);
    bed.server("main").ok(&["server", "show", "main"]);

    bed.server_mut("main").power_off();
    bed.server_mut("main").power_on();
    bed.server("main").sh("head -c 8192 /dev/urandom > /var/lib/pando/store/pando.db");
    let dead = bed.server("main").pando(&["server", "start"]);
    refused(&dead, &["its API gives no answer within 30 s", "/var/lib/pando/log/daemon.log"]);
    bed.server("main").sh("grep -q 'is damaged' /var/lib/pando/log/daemon.log");
}
