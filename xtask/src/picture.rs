//! `cargo run -p xtask -- picture`: runs the demo's commands for real and draws what they printed.
//!
//! Needs release builds (`cargo build --release -p pando -p hits`). The picture is
//! `docs/demo.svg`; nothing in it is typed by hand but the commands.

mod svg;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// What the picture shows: a command line as typed, and its words.
const STEPS: [(&str, &[&str]); 4] = [
    ("pando dev --detach", &["dev", "--detach", "--port", "8080"]),
    ("pando deploy            # the next release, under load", &["deploy"]),
    ("pando scale web=5", &["scale", "web=5"]),
    ("pando status", &["status"]),
];

/// # Errors
/// When a command fails, or the picture can't be written.
pub(crate) fn picture(root: &Path) -> anyhow::Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let (pando, hits) = (target.join("release/pando"), target.join("release/hits"));
    let project = prepare(root, &hits)?;
    let mut lines = Vec::new();
    let result = record(&pando, project.path(), &mut lines);
    // Whatever became of the recording, the cluster ends.
    run(&pando, project.path(), &["dev", "--stop"])?;
    result?;
    let path = root.join("docs/demo.svg");
    fs::write(&path, svg::draw(&lines)).with_context(|| format!("can't write `{}`", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

/// A copy of the example, so that its directory stays clean.
fn prepare(root: &Path, hits: &Path) -> anyhow::Result<tempfile::TempDir> {
    let project = tempfile::Builder::new().prefix("hits-").tempdir()?;
    fs::create_dir(project.path().join("bin"))?;
    fs::copy(hits, project.path().join("bin/hits"))
        .context("build the release binaries first: cargo build --release -p pando -p hits")?;
    for file in ["pando.yaml", ".pandoignore"] {
        fs::copy(root.join("examples/hits").join(file), project.path().join(file))?;
    }
    Ok(project)
}

fn record(pando: &Path, project: &Path, lines: &mut Vec<String>) -> anyhow::Result<()> {
    for (number, (typed, words)) in STEPS.into_iter().enumerate() {
        // Another release each time; and somebody asks while it rolls out, once there is somebody to answer.
        fs::write(project.join("edition"), number.to_string())?;
        let mut load = (number > 0).then(Load::start);
        let output = run(pando, project, words)?;
        if let Some(load) = &mut load {
            load.stop();
        }
        lines.push(format!("$ {typed}"));
        lines.extend(output.lines().map(str::to_owned));
        lines.push(String::new());
    }
    Ok(())
}

fn run(pando: &Path, project: &Path, words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(pando)
        .args(words)
        .args(["--color", "always"])
        .current_dir(project)
        .output()
        .with_context(|| format!("can't run `{}`", pando.display()))?;
    let text =
        [output.stderr, output.stdout].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if !output.status.success() {
        bail!("`pando {}` failed: {text}", words.join(" "));
    }
    Ok(text)
}

/// Requests to the demo's address, one after the other, while a command runs.
struct Load {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start() -> Self {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                if ask().is_err() {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }

    fn stop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ask() -> std::io::Result<()> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect("127.0.0.1:8080")?;
    stream.write_all(b"GET /hits.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}
