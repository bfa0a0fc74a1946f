//! For this crate's tests: the shim and the keeper as an executable of their own, a daemon that can be killed, and a small
//! server to keep.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use pando_rt::shutdown::Shutdown;
use pando_runtime::process::{ProcessRuntime, ProcessSettings};
use pando_runtime::{RunSpec, Runtime, listen, shim};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["run", "--dir", dir] => shim::run_shim(Path::new(dir)),
        ["keep", "--dir", dir] => shim::run_keeper(Path::new(dir)),
        ["daemon", state_dir] => told(start_and_stay(Path::new(state_dir))),
        ["serve"] => told(serve(None)),
        ["succeed", file] => told(serve(Some(Path::new(file)))),
        ["listen", address, file] => told(listen_and_stay(address, Path::new(file))),
        _ => ExitCode::from(2),
    }
}

fn told(result: std::io::Result<()>) -> ExitCode {
    if let Err(error) = &result {
        eprintln!("runtime-shim: {error}");
    }
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Starts the run that stdin describes, tells its pid on stdout, and stays.
fn start_and_stay(state_dir: &Path) -> std::io::Result<()> {
    let settings = ProcessSettings {
        state_dir: state_dir.to_owned(),
        shim_program: std::env::current_exe()?,
        shim_args: Vec::new(),
        log: pando_runtime::logs::LogSettings::default(),
        use_cgroups: true,
        default_env: std::collections::BTreeMap::new(),
    };
    let spec: RunSpec = serde_json::from_reader(std::io::stdin())?;
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build()?;
    tokio.block_on(async {
        let runtime = ProcessRuntime::open(settings, &Shutdown::new()).map_err(std::io::Error::other)?;
        let held = runtime.start(spec).await.map_err(std::io::Error::other)?;
        println!("{}", held.pid.unwrap_or_default());
        std::future::pending().await
    })
}

/// Answers every connection on the inherited sockets with this process's pid, one after the other. With a file, it takes the place of
/// the process that the file names.
fn serve(succeeds: Option<&Path>) -> std::io::Result<()> {
    let listen::Inherited { listeners, keeper } = listen::inherited()?;
    println!("serving on {} sockets", listeners.len());
    if let Some(keeper) = keeper {
        keeper.serves()?;
    }
    if let Some(file) = succeeds {
        let elder = std::fs::read_to_string(file).ok().and_then(|pid| pid.parse().ok());
        std::fs::write(file, std::process::id().to_string())?;
        if let Some(elder) = elder.and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(elder, rustix::process::Signal::TERM)?;
        }
    }
    std::thread::scope(|scope| {
        for listener in listeners {
            scope.spawn(move || {
                while let Ok((mut stream, _)) = listener.accept() {
                    let mut request = [0; 1];
                    if stream.read_exact(&mut request).is_ok() {
                        let _ = writeln!(stream, "{}", std::process::id());
                    }
                }
            });
        }
    });
    Ok(())
}

/// Writes a line to `file` once it listens.
fn listen_and_stay(address: &str, file: &Path) -> std::io::Result<()> {
    let _listener = std::net::TcpListener::bind(address)?;
    std::fs::write(file, "up\n")?;
    loop {
        std::thread::park();
    }
}
