//! The leader as a program of its own, for this crate's tests; the real one is a hidden subcommand of `pando`.

fn main() {
    let error = pando_agent::leader::become_leader(std::env::args_os().skip(1));
    eprintln!("can't start the command: {error}");
    std::process::exit(126);
}
