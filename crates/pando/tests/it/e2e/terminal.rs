//! A person at a keyboard: a shell beside a replica, on a real terminal, through a real cluster.

use super::bed::{Bed, Settings, kill};
use crate::pty::Pty;

/// A shell whose prompt can't be taken for anything else.
fn shell(bed: &Bed, word: &str) -> Pty {
    let words = match word {
        "exec" => &["exec", "web-1", "--", "sh"][..],
        _ => &["run", "--", "sh"][..],
    };
    let mut shell = bed.on_terminal(words, 30, 100);
    shell.wait_for("a prompt", |screen| screen.ends_with('$') || screen.ends_with('#'));
    shell.press("PS1='[ready]'\r");
    shell.wait_for("the prompt", |screen| screen.ends_with("\n[ready]"));
    shell
}

/// Types a line, and waits for what it writes.
#[track_caller]
fn line(shell: &mut Pty, typed: &str, written: &str) {
    shell.press(&format!("{typed}\r"));
    let end = format!("\n{written}\n[ready]");
    shell.wait_for(written, |screen| screen.ends_with(&end));
}

#[test]
fn e2e_a_shell_beside_a_replica_is_a_terminal_like_any_other() {
    let bed = Bed::up(Settings { replicas: 1, ..Settings::default() });
    let mut shell = shell(&bed, "exec");
    assert!(!shell.is_plain(), "each key goes there");
    line(&mut shell, "echo $PANDO_REPLICA of $PANDO_APP on $TERM", "web-1 of hits on xterm-256color");
    line(&mut shell, "stty size", "30 100");
    shell.resize(24, 77);
    // The new size is on its way while the next line is typed.
    line(&mut shell, "until [ \"$(stty size)\" = '24 77' ]; do sleep 0.01; done; stty size", "24 77");

    shell.press("sleep 1000\r");
    shell.wait_for("the command", |screen| screen.ends_with("sleep 1000"));
    shell.press("\x03");
    shell.wait_for("the prompt after Ctrl-C", |screen| screen.ends_with("\n[ready]"));
    line(&mut shell, "echo code $?", "code 130");

    shell.press("cat >/dev/null; echo over\r");
    shell.wait_for("the command", |screen| screen.ends_with("echo over"));
    shell.press("typed\r");
    shell.wait_for("the echo", |screen| screen.ends_with("\ntyped"));
    shell.press("\x04");
    shell.wait_for("the end of the input", |screen| screen.ends_with("\nover\n[ready]"));

    shell.press("exit 7\r");
    assert_eq!(shell.ended(), 7);
    assert!(shell.is_plain(), "the terminal is as it was");
}

#[test]
fn e2e_a_one_off_shell_ends_with_ctrl_d_and_so_does_one_whose_cluster_goes() {
    let bed = Bed::up(Settings { replicas: 1, ..Settings::default() });
    let mut one_off = shell(&bed, "run");
    line(&mut one_off, "echo $PANDO_RELEASE", "v1");
    one_off.press("\x04");
    assert_eq!(one_off.ended(), 0);
    assert!(one_off.is_plain());

    let mut cut_off = shell(&bed, "exec");
    kill(bed.daemon_pid());
    assert_eq!(cut_off.ended(), 3, "{}", cut_off.screen());
    let screen = cut_off.screen();
    assert!(screen.contains("error: the connection"), "{screen}");
    assert!(cut_off.is_plain(), "the terminal is as it was");
}

#[test]
fn e2e_pando_dev_shows_what_runs_until_ctrl_c() {
    let bed = Bed::prepare(Settings { replicas: 2, ..Settings::default() });
    let mut dev = bed.on_terminal(&["dev", "--port", &bed.port.to_string()], 24, 100);
    let one = dev.wait_for("both replicas", |screen| screen.matches("  serving  ").count() == 2);
    assert!(one.contains("hits v1 running: web 2 of 2"), "{one}");
    bed.ok(&["scale", "web=3"]);
    let more = dev.wait_for("the third", |screen| screen.contains("web 3 of 3 (scaled)"));
    assert_eq!(more.matches("hits v1 running").count(), 1, "one picture: {more}");
    dev.press("\x03");
    assert_eq!(dev.ended(), 0);
    let left = dev.screen();
    assert!(left.contains("web-3") && left.ends_with("ending the cluster"), "{left}");
    assert_eq!(bed.ok(&["dev", "--stop"]), "no cluster runs in this directory\n");
}
