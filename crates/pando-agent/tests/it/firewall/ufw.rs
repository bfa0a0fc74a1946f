//! A real ufw that denies, on a server of the bed.

use std::net::SocketAddr;

use super::bed::{Bed, assign, bed, in_force, problem, rules, v4};

const SERVER: u8 = 2;
const ENTRY: u8 = 3;

/// With settings of its own: those of this machine are not touched.
fn ufw(bed: &Bed, words: &str) {
    let copy = bed.directory.path().join("ufw");
    if !copy.exists() {
        bed.run(SERVER, "cp", &["-a", "/etc/ufw", copy.to_str().unwrap()]);
    }
    let script = format!("mount --bind {} /etc/ufw && {words}", copy.display());
    bed.run(SERVER, "unshare", &["-m", "sh", "-c", &script]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ufw_that_denies_what_is_needed_is_named_and_its_command_mends_it() {
    let Some(mut bed) = bed(&[1, SERVER, ENTRY]) else { return };
    bed.listen(SERVER, &[20_000]);
    ufw(
        &bed,
        "ufw --force reset >/dev/null && ufw default deny incoming && ufw allow 22/tcp && ufw --force enable",
    );
    let place = SocketAddr::new(v4(SERVER), 20_000);
    assert!(!bed.reaches(ENTRY, place));
    let control = bed.control(1);
    let _agent = bed.agent(SERVER, &control);
    // Found also where the firewall is not Pando's to keep.
    let needed = ["22", "7421 10.77.0.1", "20000-32767 10.77.0.3"];
    let mut unenforced = rules(&needed);
    unenforced.enforced = false;
    assign(&control, SERVER, 1, unenforced);
    let said = problem(&control, SERVER, "ufw drops 20000-32767/tcp from 10.77.0.3").await;
    assert!(bed.table(SERVER).is_empty());
    println!("{said}");
    assign(&control, SERVER, 2, rules(&needed));
    in_force(&control, SERVER, 2).await;
    problem(&control, SERVER, "ufw drops 7421/tcp from 10.77.0.1").await;
    for problem in control.reports().last().unwrap().report.firewall.clone().unwrap().problems {
        let command = problem.split('`').nth(1).unwrap();
        ufw(&bed, command);
    }
    assert!(bed.reaches(ENTRY, place), "the commands that were given mend it");
    assign(&control, SERVER, 3, rules(&["22", "7421 10.77.0.1", "20000-32767 10.77.0.3", "80"]));
    let report = in_force(&control, SERVER, 3).await;
    let problems = report.firewall.unwrap().problems;
    assert!(problems.iter().all(|problem| problem.contains(" 80/tcp ")), "{problems:?}");
}
