//! `pando shim`: the small parents of replicas, of the load balancer and of commands beside them.

use std::path::Path;
use std::process::ExitCode;

use pando_runtime::shim;

/// `run --dir DIR`, `keep --dir DIR` or `lead -- COMMAND`, as the daemon starts them. Runs before anything else of the program.
pub(crate) fn shim(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["run", "--dir", dir] => shim::run_shim(Path::new(dir)),
        ["keep", "--dir", dir] => shim::run_keeper(Path::new(dir)),
        ["lead", ..] => {
            let error = pando_agent::leader::become_leader(args.iter().skip(1).map(Into::into));
            eprintln!("pando: can't run the command: {error}");
            ExitCode::from(126)
        }
        _ => {
            eprintln!("error: `pando shim` is for the daemon's own use");
            ExitCode::from(2)
        }
    }
}
