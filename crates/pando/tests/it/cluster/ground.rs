//! The bed itself: what the stories stand on.

use crate::bed::Bed;

#[test]
fn cluster_servers_of_the_bed_have_their_own_network_disks_and_processes() {
    let mut bed = Bed::of(&["main", "app-2"]);
    let (main, other) = (bed.server("main").address(), bed.server("app-2").address());
    bed.server("main").sh(&format!("ping -c 1 -W 2 {other}"));
    bed.server("main")
        .sh("echo mine > /var/lib/pando/x; echo mine > /etc/pando-bed; useradd --system bed-user");
    bed.server("app-2").sh("test ! -e /var/lib/pando/x && test ! -e /etc/pando-bed && ! id bed-user");
    assert_eq!(bed.server("app-2").sh("ls /proc | grep -c '^[0-9]'").trim().parse::<u32>().unwrap() / 10, 0);

    bed.server("app-2").cut_off_from(&[main]);
    bed.server("main").sh(&format!("! ping -c 1 -W 1 {other}"));
    bed.server("app-2").heal();
    bed.server("main").sh(&format!("ping -c 1 -W 2 {other}"));

    bed.server("main").fill_disk(64);
    bed.server("main").sh("! fallocate -l 1M /var/lib/pando/y");
    bed.server("main").free_disk();
    bed.server_mut("main").power_off();
    bed.server("app-2").sh(&format!("! ping -c 1 -W 1 {main}"));
    bed.server_mut("main").power_on();
    bed.server("main").sh("grep -q mine /var/lib/pando/x && grep -q mine /etc/pando-bed && id bed-user");
}
