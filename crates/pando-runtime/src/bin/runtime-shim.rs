//! For this crate's tests: the shim as an executable of its own.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["run", "--dir", dir] => pando_runtime::shim::run_shim(Path::new(dir)),
        _ => ExitCode::from(2),
    }
}
